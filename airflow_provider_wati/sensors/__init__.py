"""Sensors: tasks that wait for what happens in WATI."""
