"""The page for people: conversations, campaigns, contacts, faults, the log of calls and the clock."""

from __future__ import annotations
