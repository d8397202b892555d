"""The operator that submits a CSV that is already in S3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_smartech.assets import lineage
from airflow_provider_smartech.operators import HostedFile
from airflow_provider_smartech.redaction import SecretUrl
from airflow_provider_smartech.staging.s3_urls import S3Urls
from airflow_provider_smartech.transfers.s3_base import S3BaseOperator

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_smartech.tasks.submission import Submission


class S3ToSmartechOperator(S3BaseOperator):
    """Submits a CSV of contacts that is already in S3, and returns its ``requestid``.

    Before anything is sent, the first bytes of the object are read: it must be plain CSV that begins with a header in
    UTF-8, without blank or repeated columns.

    The parameters for Smartech and the wait, the retries and the errors are those of
    ``SmartechBulkUploadOperator``.

    :param s3_bucket: name of the bucket.
    :param s3_key: key of the object.
    :param primary_key: column that the header must have, such as ``EMAIL``.
    :param aws_conn_id: AWS connection that reads the object and signs the URL.
    :param url_mode: ``"presigned"`` gives Smartech a signed URL; ``"direct"`` the plain https address, for a bucket
        whose policy allows Smartech's servers.
    :param url_validity: how long a signed URL is valid, in seconds or as a timedelta, 7 days at most: Smartech
        fetches the file some time after its answer.
    :param url_minimum_validity: if the AWS credentials are temporary, a URL expires with them; it is an error if
        they expire within this time.

    :raises ContactsRefused: the object does not exist, or is not a CSV that Smartech can load.
    :raises ContactsStorageError: an S3 request for the object failed.
    :raises SmartechConfigurationError: the AWS credentials cannot sign a URL that is valid long enough.
    """

    template_fields: Sequence[str] = ("s3_key", "primary_key", *S3BaseOperator.template_fields)

    def __init__(self, *, s3_key: str, primary_key: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if str(s3_key).startswith("s3://"):
            raise ValueError(f"s3_key must be the key of an object in s3_bucket, without s3://; got {s3_key!r}")
        self.s3_key = s3_key
        self.primary_key = primary_key

    def hosted(self, submission: Submission) -> Sequence[HostedFile]:
        """Return the object; its first bytes are checked before it is sent."""
        urls = self._urls
        return [
            HostedFile(
                plain_url=urls.plain_url(self.s3_bucket, self.s3_key),
                make_url=lambda: self._checked_url(urls),
                source=f"s3://{self.s3_bucket}/{quote(self.s3_key)}",
            )
        ]

    def sources(self) -> OperatorLineage[Any, Any]:
        """Return the object."""
        return lineage.of_file(f"s3://{self.s3_bucket}", self.s3_key)

    def _checked_url(self, urls: S3Urls) -> SecretUrl:
        from airflow_provider_smartech.staging.csv_header import check_object

        check_object(urls.client, self.s3_bucket, self.s3_key, self.primary_key)
        return urls.fetch_url(self.s3_bucket, self.s3_key)
