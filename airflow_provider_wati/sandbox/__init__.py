"""
A local WATI: the same HTTP API on loopback, with a page that shows who was sent what.

It is built from WATI's documentation alone and shares no code with the client of this package,
so that a misunderstanding in one is found by the other.
"""

from __future__ import annotations
