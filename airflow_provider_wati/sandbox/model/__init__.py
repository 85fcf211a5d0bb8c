"""The workspace as data: who is in it, what was said and sent, and where it stands. It knows no HTTP."""

from __future__ import annotations
