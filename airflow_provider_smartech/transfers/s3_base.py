"""The base class of the operators whose files are in S3."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_smartech.operators import SmartechBaseOperator, as_timedelta
from airflow_provider_smartech.staging.s3_urls import S3Urls, UrlMode

if TYPE_CHECKING:
    from airflow_provider_smartech.api.parameters import BulkUploadParameters
    from airflow_provider_smartech.tasks.submission import Submission


class S3BaseOperator(SmartechBaseOperator):
    """Submits objects of an S3 bucket; the public operators describe the parameters."""

    template_fields: Sequence[str] = ("s3_bucket", "aws_conn_id", *SmartechBaseOperator.template_fields)

    def __init__(
        self,
        *,
        s3_bucket: str,
        aws_conn_id: str | None = "aws_default",
        url_mode: UrlMode = "presigned",
        url_validity: float | timedelta = timedelta(hours=24),
        url_minimum_validity: float | timedelta = timedelta(minutes=15),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if str(s3_bucket).startswith("s3://"):
            raise ValueError(f"s3_bucket must be the name of a bucket, without s3://; got {s3_bucket!r}")
        self.s3_bucket = s3_bucket
        self.aws_conn_id = aws_conn_id
        self.url_mode = url_mode
        self.url_validity = as_timedelta(url_validity)
        self.url_minimum_validity = as_timedelta(url_minimum_validity)
        # A wrong choice is an error when the DAG is parsed; the connection's id may still be a template.
        self._new_urls()

    def example(self, submission: Submission) -> BulkUploadParameters:
        """Return the request for some file; this checks its parameters.

        :raises SmartechInvalidParameter: one of them is wrong.
        """
        return self.request(submission.hook, "https://bucket.example/contacts.csv")

    def source(self, key: str) -> str:
        """Return the URL of an object of the bucket, for lineage."""
        return f"s3://{self.s3_bucket}/{quote(key)}"

    @cached_property
    def _urls(self) -> S3Urls:
        # Once per task, because creating S3 clients is slow; first used after the templates are rendered.
        return self._new_urls()

    def _new_urls(self) -> S3Urls:
        return S3Urls(
            aws_conn_id=self.aws_conn_id,
            url_mode=self.url_mode,
            validity=self.url_validity,
            minimum_validity=self.url_minimum_validity,
        )
