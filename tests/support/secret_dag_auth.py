"""An auth manager for tests, with permissions that Airflow's simple one does not have."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

SECRET_DAG = "secret"


class SomeDags(SimpleAuthManager):
    """Everybody may see everything but one DAG."""

    def is_authorized_dag(self, *, details: Any = None, **named: Any) -> bool:
        """Whether the user may do that with the DAG."""
        if details is not None and details.id == SECRET_DAG:
            return False
        return super().is_authorized_dag(details=details, **named)
