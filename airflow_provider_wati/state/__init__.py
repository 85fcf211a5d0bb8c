"""Where state outlives an attempt of a task."""

from __future__ import annotations
