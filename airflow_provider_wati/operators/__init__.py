"""One operator for each action of WATI."""

from __future__ import annotations
