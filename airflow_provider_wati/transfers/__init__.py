"""Transfers: from a database to WATI."""

from __future__ import annotations
