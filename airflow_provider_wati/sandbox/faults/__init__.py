"""Faults on request: the rules, and what they do to a call."""

from __future__ import annotations
