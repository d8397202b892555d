"""The whole chain, link by link."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from airflow_provider_smartech.airflow_compat import AirflowException
from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.config.upload_store import configured_upload_store
from airflow_provider_smartech.doctor.bucket_links import bucket_links
from airflow_provider_smartech.doctor.callback_links import LINKS as CALLBACK_LINKS
from airflow_provider_smartech.doctor.callback_links import callback_links
from airflow_provider_smartech.doctor.connection_links import connection_links
from airflow_provider_smartech.doctor.finding import Finding, are_broken, broken, not_tried
from airflow_provider_smartech.doctor.first_upload import UPLOAD, FirstUpload
from airflow_provider_smartech.doctor.settings_links import settings_links
from airflow_provider_smartech.doctor.store_link import LINK as STORE
from airflow_provider_smartech.doctor.store_link import store_link
from airflow_provider_smartech.errors import SmartechConfigurationError
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.redaction import scrub
from airflow_provider_smartech.uploads.store import UploadStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What is examined: a connection to Smartech, perhaps a bucket, and perhaps one real upload.

    The parameters have the operators' names.
    """

    smartech_conn_id: str = SmartechHook.default_conn_name
    aws_conn_id: str | None = "aws_default"
    s3_bucket: str | None = None
    s3_prefix: str = ""
    upload: FirstUpload | None = None

    def walk(self) -> Iterator[Finding]:
        """Yield a finding for each link as soon as it is known; a broken link does not end the walk."""
        found: list[Finding] = []
        for link, findings in self._parts(found):
            try:
                for finding in findings:
                    found.append(finding)
                    yield finding
            except (AirflowException, OSError) as error:
                log.debug("The doctor could not look at %s.", link, exc_info=True)
                finding = broken(
                    link, f"it could not be examined: {type(error).__name__}: {scrub(str(error), [])[:300]}"
                )
                found.append(finding)
                yield finding

    def _parts(self, found: list[Finding]) -> Iterator[tuple[str, Iterator[Finding]]]:
        store, hook = configured_upload_store(), SmartechHook(self.smartech_conn_id)
        yield "settings", settings_links()
        yield STORE, store_link(store)
        yield "connection", connection_links(hook)
        if self.s3_bucket:
            yield "bucket", bucket_links(self.aws_conn_id, self.s3_bucket, self.s3_prefix)
        yield "ping-back", _callback(store, hook, found)
        if self.upload:
            yield UPLOAD, self._first(self.upload, hook, found)

    def _first(self, upload: FirstUpload, hook: SmartechHook, found: list[Finding]) -> Iterator[Finding]:
        if links := are_broken(found):
            yield not_tried(UPLOAD, f"first repair {', '.join(links)}")
        else:
            yield from upload.links(hook)


def _callback(store: UploadStore, hook: SmartechHook, found: list[Finding]) -> Iterator[Finding]:
    try:
        base = Settings.load().callback_base_url
        why = "there is no callback_base_url"
    except SmartechConfigurationError:
        base, why = None, "the settings are wrong"
    if STORE in are_broken(found):
        base, why = None, "the upload store cannot be used"
    if not base:
        yield from (not_tried(link, why) for link in CALLBACK_LINKS)
        return
    try:
        host = hook.account.host
    except SmartechConfigurationError:
        host = None
    yield from callback_links(base, store, host)
