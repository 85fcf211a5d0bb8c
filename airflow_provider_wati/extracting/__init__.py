"""What WATI has, as rows for a table or a file: contacts, messages, recipients of campaigns."""

from __future__ import annotations
