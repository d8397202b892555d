"""The doctor in a task, for deployments without a shell: its lines go into the task's log."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import get_current_context

from airflow_provider_smartech.errors import ChainBroken

if TYPE_CHECKING:
    from airflow_provider_smartech.uploads.upload import TaskTry

log = logging.getLogger(__name__)


def examine(
    *,
    smartech_conn_id: str = "smartech_default",
    aws_conn_id: str | None = "aws_default",
    s3_bucket: str | None = None,
    s3_prefix: str = "",
    upload: str | None = None,
    listid: int | None = None,
    timeout: float | timedelta = timedelta(hours=1),
) -> None:
    """Examine the chain from the settings to a ping-back, as ``airflow smartech doctor`` does, and log each link.

    Call it in a task: then it is seen as tasks see it.

    :param smartech_conn_id: connection to Smartech.
    :param aws_conn_id: AWS connection for the bucket.
    :param s3_bucket: bucket for files with contacts; None or empty: none is examined.
    :param s3_prefix: folder in the bucket.
    :param upload: URL of a CSV that is really sent, without a question, and again by each retry of the task; None or
        empty: nothing is sent.
    :param listid: the list for it; the connection's ``listid`` by default.
    :param timeout: seconds, or a timedelta, to wait for its ping-back.
    :raises ChainBroken: at least one link is broken.
    """
    # Imported here: DAG files import this module.
    from airflow_provider_smartech.doctor.chain import Chain
    from airflow_provider_smartech.doctor.finding import Result, are_broken
    from airflow_provider_smartech.doctor.first_upload import FirstUpload

    limit = timeout if isinstance(timeout, timedelta) else timedelta(seconds=timeout)
    chain = Chain(
        smartech_conn_id=smartech_conn_id,
        aws_conn_id=aws_conn_id,
        s3_bucket=s3_bucket or None,
        s3_prefix=s3_prefix,
        upload=FirstUpload(path=upload, listid=listid, timeout=limit, agree=lambda question: True, task=_task())
        if upload
        else None,
    )
    levels = {Result.OK: logging.INFO, Result.NOT_TRIED: logging.WARNING, Result.WARNING: logging.WARNING}
    found = []
    for finding in chain.walk():
        log.log(levels.get(finding.result, logging.ERROR), "%s", finding.text)
        found.append(finding)
    if links := are_broken(found):
        raise ChainBroken(links)


def _task() -> TaskTry | None:
    """Return the task that is running here, None if none is."""
    from airflow_provider_smartech.tasks.submission import task_try

    try:
        return task_try(get_current_context())
    except RuntimeError:
        return None
