"""The DAG of the soak test's nights: syncs that send only what has changed, and die where they are told to."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, get_current_context

from airflow_provider_smartech.operators import Summaries
from airflow_provider_smartech.tasks.submission import Submission
from airflow_provider_smartech.transfers import SqlToSmartechOperator
from airflow_provider_smartech.uploads.upload import Upload

# As many as cluster.nights has.
LISTS = (901, 902)
QUERY = 'SELECT email AS "EMAIL", name AS "NAME" FROM soak_contacts WHERE sync = {}'


class MortalSync(SqlToSmartechOperator):
    """Dies when all is loaded and before that is the new base, in as many tries as ``deaths`` says of it."""

    def outcome(self, uploads: Sequence[Upload], submission: Submission, summaries: Summaries) -> dict[str, Any]:
        """Die, or finish the task."""
        context = get_current_context()
        if uploads and context["ti"].try_number <= context["params"]["deaths"][context["ti"].map_index]:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().outcome(uploads, submission, summaries)


with DAG("soak_syncs", schedule=None, max_active_runs=1, params={"deaths": Param([0] * len(LISTS), type="array")}):
    MortalSync.partial(
        task_id="sync",
        conn_id="warehouse",
        s3_bucket="my-company-staging",
        s3_prefix="soak",
        primary_key="EMAIL",
        only_changes=True,
        wait_for_completion=True,
        deferrable=True,
        timeout=60,
        retries=2,
        retry_delay=timedelta(seconds=1),
    ).expand_kwargs([{"sql": QUERY.format(number), "listid": listid} for number, listid in enumerate(LISTS)])
