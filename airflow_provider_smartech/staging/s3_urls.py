"""Links from which Smartech's servers can fetch S3 objects."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.sdk import BaseHook

from airflow_provider_smartech.errors import ContactsStorageError, SmartechConfigurationError
from airflow_provider_smartech.redaction import SecretUrl, mask
from airflow_provider_smartech.staging.s3_errors import storage_errors

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

log = logging.getLogger(__name__)

UrlMode = Literal["presigned", "direct"]

# The longest validity of a URL with a version 4 signature.
LONGEST_VALIDITY = timedelta(days=7)
HOUR_SECONDS = 3600

# If Airflow does not have it, boto3 finds credentials by itself.
DEFAULT_CONN_ID = "aws_default"
# The answers after which no request for a bucket can succeed.
UNUSABLE = {
    "404": "there is no such bucket",
    "NoSuchBucket": "there is no such bucket",
    "NoCredentialsError": "it has no credentials",
    "ParamValidationError": "a bucket cannot have that name",
}


@dataclass(frozen=True, kw_only=True)
class S3Urls:
    """Makes URLs with one AWS connection.

    ``url_mode``: ``"presigned"`` signs them for ``validity``; ``"direct"`` returns the plain address of the object, for
    a bucket whose policy allows Smartech's servers. A URL signed with temporary credentials expires with them:
    ``minimum_validity`` is how long they must stay valid.
    """

    aws_conn_id: str | None
    url_mode: UrlMode
    validity: timedelta
    minimum_validity: timedelta

    def __post_init__(self) -> None:
        if self.url_mode not in get_args(UrlMode):
            raise ValueError(f"url_mode must be 'presigned' or 'direct'; got {self.url_mode!r}")
        if not timedelta(0) < self.minimum_validity <= self.validity <= LONGEST_VALIDITY:
            raise ValueError(
                "0 < url_minimum_validity <= url_validity <= 7 days must hold, because S3 signs URLs for 7 days at "
                f"most; got {self.minimum_validity} and {self.validity}"
            )

    @property
    def client(self) -> Any:
        """The boto3 client of the connection."""
        return self._hook.get_conn()

    def fetch_url(self, bucket: str, key: str) -> SecretUrl:
        """Return the URL that Smartech fetches an object from.

        :raises SmartechConfigurationError: there are no credentials, or they expire too early.
        """
        if self.url_mode == "direct":
            return self._plain(bucket, key)
        self.check(bucket, key)
        url = self._presigned(bucket, key)
        mask(url.keys())
        return url

    def plain_url(self, bucket: str, key: str) -> SecretUrl:
        """Return the plain URL of an object, without a signature."""
        return self._plain(bucket, key)

    def _presigned(self, bucket: str, key: str) -> SecretUrl:
        where = {"Bucket": bucket, "Key": key}
        with storage_errors(where):
            seconds = int(self.validity.total_seconds())
            url = self._hook.generate_presigned_url("get_object", params=where, expires_in=seconds)
        if not url:
            raise ContactsStorageError(f"s3://{bucket}/{key}", "no URL could be signed")
        return SecretUrl(url)

    def _plain(self, bucket: str, key: str) -> SecretUrl:
        where = {"Bucket": bucket, "Key": key}
        with storage_errors(where):
            return SecretUrl(self._unsigning_client.generate_presigned_url("get_object", Params=where))

    @cached_property
    def _credentials(self) -> Any:
        # Once: a session takes long to make. Temporary credentials refresh themselves.
        return self._hook.get_session().get_credentials()

    @cached_property
    def _unsigning_client(self) -> Any:
        from botocore import UNSIGNED
        from botocore.config import Config

        unsigned = self._hook.config.merge(Config(signature_version=UNSIGNED))
        return self._hook.get_client_type(region_name=self._hook.region_name, config=unsigned)

    @cached_property
    def _hook(self) -> S3Hook:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
        from botocore.config import Config

        self._check_connection()
        hook = S3Hook(aws_conn_id=self.aws_conn_id)
        # By default URLs have the old version 2 signature, and a host that does not work for all regions.
        style = {} if hook.conn_config.get_service_endpoint_url("s3") else {"addressing_style": "virtual"}
        own = Config(signature_version="s3v4", s3={**style, **(hook.config.s3 or {})})
        return S3Hook(aws_conn_id=self.aws_conn_id, config=hook.config.merge(own))

    def _check_connection(self) -> None:
        """Check that a connection that is named on purpose is there; Amazon's hook would go on without it."""
        if not self.aws_conn_id or self.aws_conn_id == DEFAULT_CONN_ID:
            return
        try:
            BaseHook.get_connection(self.aws_conn_id)
        except AirflowNotFoundException as error:
            raise SmartechConfigurationError(
                f"There is no connection {self.aws_conn_id!r}, which aws_conn_id names. Create one of type aws."
            ) from error

    def check_bucket(self, bucket: str) -> None:
        """Check that there is such a bucket, as far as S3 says it clearly.

        Anything else goes on, as the connection may lack the permission for this request alone.

        :raises SmartechConfigurationError: there is no such bucket, or there are no credentials.
        """
        try:
            with storage_errors({"Bucket": bucket, "Key": ""}):
                self.client.head_bucket(Bucket=bucket)
        except ContactsStorageError as error:
            if problem := UNUSABLE.get(error.code):
                raise SmartechConfigurationError(
                    f"The AWS connection {self.aws_conn_id!r} cannot be used with the bucket {bucket!r}: {problem}."
                ) from error
            log.info("S3 does not say whether there is a bucket %s (%s).", bucket, error.reason)

    def check(self, bucket: str, key: str) -> None:
        """Warn or fail if a URL would expire early.

        :raises SmartechConfigurationError: there are no credentials, or they expire too early.
        :raises ContactsStorageError: the credentials could not be fetched.
        """
        if self.url_mode == "presigned" and (doubt := self.doubt(bucket, key)):
            log.warning("%s", doubt)

    def doubt(self, bucket: str, key: str) -> str | None:
        """Return why a signed URL may expire before its validity is over, None if it will not.

        :raises SmartechConfigurationError: there are no credentials, or they expire too early.
        :raises ContactsStorageError: the credentials could not be fetched.
        """
        with storage_errors({"Bucket": bucket, "Key": key}):
            credentials = self._credentials
            token = credentials and credentials.get_frozen_credentials().token
        if credentials is None:
            raise SmartechConfigurationError(
                f"The AWS connection {self.aws_conn_id!r} has no credentials to sign a URL with."
            )
        if token is None:
            return None
        expires_within = getattr(credentials, "refresh_needed", None)
        if expires_within is None:
            return (
                f"The credentials of AWS connection {self.aws_conn_id!r} are temporary, and their expiry time is not "
                "known. The URL of the file expires with them: they must stay valid until Smartech has fetched the "
                "file."
            )
        if expires_within(self.minimum_validity.total_seconds()):
            raise SmartechConfigurationError(
                f"The credentials of AWS connection {self.aws_conn_id!r} are temporary and expire within "
                f"{self.minimum_validity}, and the URL of the file expires with them. Use credentials that are valid "
                "for longer, url_mode='direct', or a smaller url_minimum_validity."
            )
        if expires_within(self.validity.total_seconds()):
            hours = next(hour for hour in range(1, 24 * 7 + 1) if expires_within(hour * HOUR_SECONDS))
            return (
                f"The credentials of AWS connection {self.aws_conn_id!r} are temporary and expire in less than {hours} "
                f"hour(s). The URL of the file expires with them, not after {self.validity}: Smartech must fetch it "
                "before that."
            )
        return None
