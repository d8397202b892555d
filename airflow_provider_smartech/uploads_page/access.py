"""Who may see what: Airflow's login, and its permissions for the DAGs that submitted the uploads."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user, requires_access_view
from airflow.models.dag import DagModel
from fastapi import Depends

from airflow_provider_smartech.uploads.overview import Overview

MaySee = Callable[[Overview], bool]


def may_see(
    user: Annotated[BaseUser, Depends(get_user)],
    website: Annotated[None, Depends(requires_access_view(AccessView.WEBSITE))],
) -> MaySee:
    """Return a function that tells whether this user may see an upload: the user must be allowed to see its task."""

    @cache
    def may_see_dag(dag_id: str) -> bool:
        return get_auth_manager().is_authorized_dag(
            method="GET",
            access_entity=DagAccessEntity.TASK_INSTANCE,
            details=DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id)),
            user=user,
        )

    return lambda upload: upload.task is None or may_see_dag(upload.task.dag_id)


MaySeeDep = Annotated[MaySee, Depends(may_see)]
