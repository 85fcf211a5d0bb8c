"""Triggers: what looks at WATI while a task is deferred. They only read."""
