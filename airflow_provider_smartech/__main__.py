"""``python -m airflow_provider_smartech``: the same as ``airflow smartech`` on Airflow 3.2 or newer."""

from __future__ import annotations

from airflow_provider_smartech.cli.definition import main

main()
