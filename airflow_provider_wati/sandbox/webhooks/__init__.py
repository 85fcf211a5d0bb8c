"""Webhooks: what happens in the workspace is posted to the URLs that are subscribed to it."""

from __future__ import annotations
