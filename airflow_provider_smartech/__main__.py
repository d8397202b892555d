"""``python -m airflow_provider_smartech``: what ``airflow smartech`` does where Airflow is 3.2 or newer."""

from __future__ import annotations

from airflow_provider_smartech.cli.definition import main

main()
