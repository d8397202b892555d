"""Examines the chain to Smartech and back on a worker: the task's log has a line for each link, and what to do."""

from __future__ import annotations

from airflow.sdk import DAG, Param, get_current_context, task

from airflow_provider_smartech.doctor import examine

with DAG(
    dag_id="smartech_doctor",
    schedule=None,
    params={
        "smartech_conn_id": Param("smartech_default", type="string", description="connection to Smartech"),
        "s3_bucket": Param("", type="string", description="bucket for files with contacts; empty: none is examined"),
        "s3_prefix": Param("", type="string", description="folder in the bucket"),
        "aws_conn_id": Param("aws_default", type="string", description="AWS connection for the bucket"),
        "upload": Param("", type="string", description="URL of a CSV that is really sent; empty: nothing is sent"),
        "listid": Param(None, type=["null", "integer"], minimum=1, description="list for it"),
        "timeout": Param(3600, type="integer", minimum=1, description="seconds to wait for its ping-back"),
    },
    doc_md=__doc__,
    tags=["smartech"],
) as dag:

    @task(retries=0)
    def doctor() -> None:
        """Fail if a link is broken."""
        examine(**get_current_context()["params"])

    doctor()
