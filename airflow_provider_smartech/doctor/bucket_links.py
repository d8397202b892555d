"""The bucket for files with contacts: whether it can be written, and whether a signed link opens and lives."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from airflow_provider_smartech.doctor.calls import CLOCK_TOLERANCE, NoAnswer, call, clock_difference
from airflow_provider_smartech.doctor.finding import Finding, broken, not_tried, ok, warning
from airflow_provider_smartech.errors import ContactsStorageError, SmartechConfigurationError, SmartechError
from airflow_provider_smartech.staging.area import new_folder
from airflow_provider_smartech.staging.s3_errors import storage_errors
from airflow_provider_smartech.staging.s3_urls import S3Urls

CREDENTIALS, WRITE, LINK, REMOVE = "AWS credentials", "bucket", "signed link", "bucket, removal"

CONTENT = b"EMAIL\n"
# As the operators have them by default.
VALIDITY, MINIMUM_VALIDITY = timedelta(hours=24), timedelta(minutes=15)


def bucket_links(aws_conn_id: str | None, bucket: str, prefix: str) -> Iterator[Finding]:
    """Write a file without contacts, open its link without credentials, and remove it."""
    urls = S3Urls(aws_conn_id=aws_conn_id, url_mode="presigned", validity=VALIDITY, minimum_validity=MINIMUM_VALIDITY)
    where = {"Bucket": bucket, "Key": f"{new_folder(prefix)}/doctor.csv"}
    try:
        yield _credentials(aws_conn_id, urls.doubt(bucket, where["Key"]))
    except SmartechError as error:
        yield broken(CREDENTIALS, str(error))
        yield from (not_tried(link, "there are no usable credentials") for link in (WRITE, LINK))
        return
    try:
        urls.check_bucket(bucket)
        written = _write(urls.client, where)
    except SmartechError as error:
        yield broken(WRITE, str(error), _advice(error, aws_conn_id, bucket, prefix))
        yield not_tried(LINK, "nothing was written")
        return
    yield written
    try:
        yield _link(urls, where)
    finally:
        left = _remove(urls.client, where)
    if left:
        yield left


def _advice(error: SmartechError, aws_conn_id: str | None, bucket: str, prefix: str) -> str:
    if isinstance(error, SmartechConfigurationError):
        return f"Check the bucket's name, and the region and the endpoint of AWS connection {aws_conn_id!r}."
    return f"AWS connection {aws_conn_id!r} needs s3:PutObject in {_place(bucket, prefix)}."


def _place(bucket: str, prefix: str) -> str:
    return "/".join(filter(None, [f"s3://{bucket}", prefix.strip("/"), "*"]))


def _credentials(aws_conn_id: str | None, doubt: str | None) -> Finding:
    if doubt:
        return warning(CREDENTIALS, doubt, "Use credentials that are valid for longer, or url_mode='direct'.")
    return ok(
        CREDENTIALS, f"{aws_conn_id}: they do not expire before a link of {VALIDITY.total_seconds() / 3600:.0f} hours"
    )


def _write(client: Any, where: dict[str, str]) -> Finding:
    with storage_errors(where):
        answer = client.put_object(**where, Body=CONTENT)
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    ahead = clock_difference(parsedate_to_datetime(date), datetime.now(UTC)) if date else timedelta(0)
    if abs(ahead) > CLOCK_TOLERANCE:
        return warning(
            WRITE, f"a file was written, but S3's clock differs by {abs(ahead)}", "Set this machine's clock."
        )
    return ok(WRITE, f"a file without contacts was written to {_shown(where)}")


def _link(urls: S3Urls, where: dict[str, str]) -> Finding:
    try:
        url = urls.fetch_url(where["Bucket"], where["Key"])
        answer = call("GET", url.get_secret_value(), secrets=url.secrets())
    except SmartechError as error:
        return broken(LINK, str(error))
    except NoAnswer as error:
        return broken(LINK, f"it does not open from here: {error}", "Check the AWS connection's endpoint and region.")
    if answer.status == 200 and answer.body == CONTENT:
        return ok(LINK, "it opens from here without credentials", answer.seconds)
    return broken(
        LINK,
        f"it was answered with {answer.shown}{_code(answer.body)}",
        "The connection needs s3:GetObject there, the bucket's policy must admit Smartech, and the connection's region "
        "must be the bucket's.",
    )


def _code(body: bytes) -> str:
    """Return S3's code for an error, as a text to append."""
    _, found, rest = body.decode(errors="replace").partition("<Code>")
    return f": {rest.partition('</Code>')[0][:50]}" if found else ""


def _remove(client: Any, where: dict[str, str]) -> Finding | None:
    try:
        with storage_errors(where):
            client.delete_object(**where)
    except ContactsStorageError as error:
        return warning(
            REMOVE,
            f"the file stays in the bucket: {error.reason}",
            f"Remove {_shown(where)}. The connection needs s3:DeleteObject, or files with contacts stay as well.",
        )
    return None


def _shown(where: dict[str, str]) -> str:
    return f"s3://{where['Bucket']}/{where['Key']}"
