"""
The control API under ``/_sandbox``: what a test may do to the sandbox and ask of it.

It needs no token and answers only callers on the same machine.
"""

from __future__ import annotations
