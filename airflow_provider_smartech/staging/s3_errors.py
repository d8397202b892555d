"""Converts the S3 client's errors into one of this provider's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_smartech.errors import ContactsStorageError
from airflow_provider_smartech.redaction import scrub

EXCERPT_CHARACTERS = 300


@contextmanager
def storage_errors(where: dict[str, str]) -> Iterator[None]:
    """Convert any error of the S3 client into a ``ContactsStorageError``."""
    # Imported late: boto3 is slow to import, and DAG files are parsed often.
    from botocore.exceptions import BotoCoreError, ClientError

    url = f"s3://{where['Bucket']}/{where['Key']}"
    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        message = scrub(str(said.get("Message") or ""), [])[:EXCERPT_CHARACTERS]
        raise ContactsStorageError(url, str(said.get("Code", "unknown")), message) from error
    except BotoCoreError as error:
        raise ContactsStorageError(url, type(error).__name__) from error
