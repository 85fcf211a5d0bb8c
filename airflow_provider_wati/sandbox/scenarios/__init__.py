"""
Scenarios: what a fresh sandbox contains, as JSON.

``shop``, ``clinic`` and ``helpdesk`` are files beside this module; ``docs/sandbox.md`` describes the members.
"""

from __future__ import annotations

from airflow_provider_wati.sandbox.scenarios.reading import (
    BUILT_IN,
    Scenario,
    ScenarioError,
    load_scenario,
    read_scenario,
)

__all__ = ["BUILT_IN", "Scenario", "ScenarioError", "load_scenario", "read_scenario"]
