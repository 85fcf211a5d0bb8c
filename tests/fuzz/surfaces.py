"""All surfaces, in the order of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fuzz import (
    answers,
    endpoints,
    headers,
    journal_entries,
    media_names,
    phone_cells,
    raw_http,
    recipients,
    row_files,
    sandbox_api,
    snapshots,
    targets,
)

if TYPE_CHECKING:
    from tests.fuzz.harness import Surface

SURFACES: tuple[Surface, ...] = (
    targets.SURFACE,
    phone_cells.SURFACE,
    recipients.SURFACE,
    endpoints.SURFACE,
    headers.SURFACE,
    media_names.SURFACE,
    answers.SURFACE,
    raw_http.SURFACE,
    *row_files.SURFACES,
    journal_entries.SURFACE,
    *snapshots.SURFACES,
    sandbox_api.SURFACE,
)
