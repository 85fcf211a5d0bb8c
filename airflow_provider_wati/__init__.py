"""
Apache Airflow provider for WATI, the WhatsApp Business platform.

Nothing is imported here on purpose: since Airflow 3.2 ``import airflow`` itself loads the provider
entry point, and with it this file, in every scheduler, worker, triggerer and CLI process.
"""

from __future__ import annotations

__version__ = "0.1.0"
