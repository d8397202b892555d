"""What type checkers say of the public names, as DAG files use them.

``mypy`` reads this and nobody runs it. Each wrong call says which error it must give: where one is accepted by now, its
comment is the error. Operators and sensors hand what they do not declare themselves to Airflow, which takes anything.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from airflow.sdk import DAG, Context

from airflow_provider_smartech.doctor import examine
from airflow_provider_smartech.hooks import SmartechHook, purge_uploads
from airflow_provider_smartech.operators import SmartechBaseOperator, SmartechBulkUploadOperator, submit_upload
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.sensors import SmartechBulkUploadSensor
from airflow_provider_smartech.transfers import S3ToSmartechOperator, SqlToSmartechOperator
from airflow_provider_smartech.triggers import SmartechBulkUploadTrigger


def dag_of_a_hosted_csv() -> None:
    with DAG(dag_id="hosted", schedule=None):
        upload = SmartechBulkUploadOperator(
            task_id="upload",
            path="{{ params.path }}",
            listid="{{ params.listid }}",
            notifyemail="ops@example.com",
            smartech_conn_id="smartech_default",
            wait_for_completion=True,
            deferrable=True,
            timeout=timedelta(hours=12),
            max_rejected=0.01,
            on_unknown_outcome="fail",
            retries=2,
            retry_delay=timedelta(minutes=5),
        )
        wait = SmartechBulkUploadSensor(
            task_id="wait",
            requestid="{{ ti.xcom_pull(task_ids='upload') }}",
            smartech_conn_id="smartech_default",
            max_rejected=5,
            deferrable=True,
            soft_fail=True,
            timeout=3600,
        )
        upload >> wait
    assert_type(upload.wait_for_completion, bool)
    assert_type(upload.timeout, timedelta)
    assert_type(upload.max_rejected, float | None)
    assert_type(wait.deferrable, bool)
    assert_type(wait.max_rejected, float | None)
    several = SmartechBulkUploadSensor(task_id="wait", requestid=["r1", "r2"])
    assert_type(several.smartech_conn_id, str | None)
    SmartechBulkUploadOperator(task_id="upload")  # type: ignore[call-arg]
    SmartechBulkUploadOperator(task_id="upload", path=None)  # type: ignore[arg-type]
    SmartechBulkUploadOperator("upload", path="https://x.example.com/y.csv")  # type: ignore[misc]
    SmartechBulkUploadSensor(task_id="wait")  # type: ignore[call-arg]
    SmartechBulkUploadSensor(task_id="wait", requestid=33)  # type: ignore[arg-type]
    SmartechBulkUploadSensor(task_id="wait", requestid=[33])  # type: ignore[list-item]
    SmartechBulkUploadSensor(task_id="wait", requestid="r", max_rejected="5")  # type: ignore[arg-type]
    SmartechBulkUploadSensor(task_id="wait", requestid="r", deferrable="no")  # type: ignore[arg-type]
    SmartechBulkUploadSensor(task_id="wait", requestid=upload.output)
    SmartechBulkUploadSensor(task_id="wait", requestid={"requestids": ["r1", "r2"], "rows": 10})
    SmartechBulkUploadSensor(task_id="wait", requestid=("r1", {"requestids": ["r2"]}))
    mapped = SmartechBulkUploadOperator.partial(task_id="mapped", listid=33).expand(path=["a.csv", "b.csv"])
    SmartechBulkUploadSensor(task_id="wait", requestid=mapped.output)


def dag_of_a_warehouse() -> None:
    with DAG(dag_id="warehouse", schedule="0 2 * * *"):
        sync = SqlToSmartechOperator(
            task_id="sync",
            sql="contacts.sql",
            conn_id="warehouse",
            s3_bucket="my-company-staging",
            s3_prefix="contacts",
            columns={"email": "EMAIL"},
            parameters=["IN", 7],
            hook_params={"schema": "crm"},
            primary_key="EMAIL",
            on_missing_key="skip",
            on_empty="submit",
            max_rows_per_file=50_000,
            delete_staged="always",
            upload_args={"ServerSideEncryption": "aws:kms"},
            url_mode="presigned",
            url_validity=timedelta(days=7),
            listid=34,
            wait_for_completion=True,
        )
        exported = S3ToSmartechOperator(
            task_id="exported",
            s3_bucket="my-company-exports",
            s3_key="contacts/{{ ds }}.csv",
            primary_key="EMAIL",
            aws_conn_id=None,
            listid=34,
        )
        exported >> sync
    assert_type(sync.columns, dict[str, str] | None)
    assert_type(sync.max_rows_per_file, int | None)
    assert_type(exported.primary_key, str | None)
    assert_type(exported.url_validity, timedelta)
    operators: list[SmartechBaseOperator] = [sync, exported]
    assert_type(operators[0].listid, int | str | None)
    known: dict[str, Any] = {"task_id": "sync", "s3_bucket": "b", "listid": 33}
    SqlToSmartechOperator(sql="SELECT 1", conn_id="c", s3_prefix="p", parameters={"country": "IN"}, **known)
    SqlToSmartechOperator(sql="SELECT 1", s3_prefix="p", task_id="sync")  # type: ignore[call-arg]
    SqlToSmartechOperator(sql=["SELECT 1"], conn_id="c", s3_prefix="p", **known)  # type: ignore[arg-type]
    SqlToSmartechOperator(sql="s", conn_id="c", s3_prefix="p", columns=["EMAIL"], **known)  # type: ignore[arg-type]
    SqlToSmartechOperator(sql="s", conn_id="c", s3_prefix="p", columns={"a": 1}, **known)  # type: ignore[dict-item]
    SqlToSmartechOperator(sql="s", conn_id="c", s3_prefix="p", on_missing_key="drop", **known)  # type: ignore[arg-type]
    SqlToSmartechOperator(sql="s", conn_id="c", s3_prefix="p", on_empty="ignore", **known)  # type: ignore[arg-type]
    SqlToSmartechOperator(sql="s", conn_id="c", s3_prefix="p", delete_staged=True, **known)  # type: ignore[arg-type]
    SqlToSmartechOperator(sql="s", conn_id="c", s3_prefix="p", max_rows_per_file=0.5, **known)  # type: ignore[arg-type]
    S3ToSmartechOperator(s3_key="k", uploads_at_once="all", **known)  # type: ignore[arg-type]
    S3ToSmartechOperator(s3_prefix="p", on_empty="submit", **known)  # type: ignore[arg-type]
    S3ToSmartechOperator(s3_prefix="p", delete_source="always", **known)  # type: ignore[arg-type]
    S3ToSmartechOperator(s3_key=b"contacts.csv", **known)  # type: ignore[arg-type]
    S3ToSmartechOperator(s3_key="k", primary_key=["EMAIL"], **known)  # type: ignore[arg-type]


class ReadFromSomewhere(SmartechBaseOperator):
    """An operator that says nothing of which files it submits is none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(listid=33, on_unknown_outcome="resubmit", timeout=60, **kwargs)
        super().__init__(listid=[33])  # type: ignore[arg-type]
        super().__init__(on_unknown_outcome="shrug")  # type: ignore[arg-type]
        super().__init__(timeout="an hour")  # type: ignore[arg-type]
        super().__init__(max_rejected="5")  # type: ignore[arg-type]
        super().__init__(wait_for_completion=None)  # type: ignore[arg-type]


def abstract_operator() -> None:
    ReadFromSomewhere(task_id="upload")  # type: ignore[abstract]


def tasks_of_ones_own(context: Context) -> None:
    hook = SmartechHook("smartech_default")
    assert_type(hook.bulk_upload("https://x.example.com/y.csv", 33), str)
    hook.bulk_upload("https://x.example.com/y.csv", listid="33", notifyemail="ops@example.com", callback=None)
    assert_type(hook.test_connection(), tuple[bool, str])
    hook.check_api_key()
    assert_type(purge_uploads(timedelta(days=90)), int)
    trigger = SmartechBulkUploadTrigger(["20260101T000000-0"], 1767225600.0)
    assert_type(trigger.serialize(), tuple[str, dict[str, Any]])
    assert_type(trigger.keys, list[str])
    assert_type(submit_upload("https://x.example.com/y.csv"), str)
    submit_upload(
        "https://x.example.com/y.csv",
        listid="33",
        notifyemail="ops@example.com",
        smartech_conn_id="retail",
        on_unknown_outcome="fail",
    )
    submit_upload("https://x.example.com/y.csv", 33)  # type: ignore[call-arg]
    submit_upload("https://x.example.com/y.csv", on_unknown_outcome="shrug")  # type: ignore[arg-type]
    hook.bulk_upload()  # type: ignore[call-arg]
    hook.bulk_upload("https://x.example.com/y.csv", listid=[33])  # type: ignore[arg-type]
    hook.bulk_upload("https://x.example.com/y.csv", list_id=33)  # type: ignore[call-arg]
    SmartechHook(None)  # type: ignore[arg-type]
    purge_uploads(30)  # type: ignore[arg-type]
    purge_uploads(days=30)  # type: ignore[call-arg]
    SmartechBulkUploadTrigger("20260101T000000-0", 1767225600.0)  # type: ignore[arg-type]
    SmartechBulkUploadTrigger(["20260101T000000-0"], timedelta(hours=1))  # type: ignore[arg-type]


def a_doctor() -> None:
    examine()
    examine(s3_bucket="staging", s3_prefix="contacts", aws_conn_id=None, smartech_conn_id="retail")
    examine(upload="https://x.example.com/y.csv", listid=33, timeout=timedelta(minutes=5))
    examine(upload="https://x.example.com/y.csv", listid=None, timeout=300)
    examine("smartech_default")  # type: ignore[call-arg]
    examine(bucket="staging")  # type: ignore[call-arg]
    examine(upload=["https://x.example.com/y.csv"])  # type: ignore[arg-type]


def tests_of_ones_own() -> None:
    with SandboxServer(port=0, api_key="k3y", faults={Fault.PINGBACK_TWICE}, late_seconds=1) as sandbox:
        assert_type(sandbox, SandboxServer)
        assert_type(sandbox.api_url, str)
        assert_type(sandbox.port, int)
        assert_type(sandbox.state.count(33), int)
        assert_type(Fault("error_500"), Fault)
        sandbox.faults = frozenset({Fault.ERROR_500, Fault.NO_PINGBACK})
        sandbox.fail_next(Fault.HANG)
        sandbox.release()
        assert_type(sandbox.ping_back("r1", {"status": "failed"}), str)
        sandbox.faults = {Fault.ERROR_500}  # type: ignore[assignment]
        sandbox.fail_next("error_500")  # type: ignore[arg-type]
        sandbox.fail_next(Fault.NONSENSE)  # type: ignore[attr-defined]
        sandbox.ping_back("r1")  # type: ignore[call-arg]
    SandboxServer(api_key=None)  # type: ignore[arg-type]
    SandboxServer(retries=3)  # type: ignore[call-arg]
