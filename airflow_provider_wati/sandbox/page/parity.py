"""How each behaviour of the sandbox is known: documented, observed at WATI, or inferred."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LEDGER = Path(__file__).parents[1] / "parity.json"


def parity() -> dict[str, Any]:
    """Return the ledger: ``behaviours``, each with ``area``, ``behaviour``, ``known``, ``source`` and ``date``."""
    ledger: dict[str, Any] = json.loads(LEDGER.read_text(encoding="utf-8"))
    return ledger
