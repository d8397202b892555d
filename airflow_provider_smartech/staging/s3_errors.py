"""Converts the S3 client's errors into one of this provider's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_smartech.errors import ContactsStorageError


@contextmanager
def storage_errors(where: dict[str, str]) -> Iterator[None]:
    """Convert any error of the S3 client into a ``ContactsStorageError``."""
    # Imported late: boto3 is slow to import, and DAG files are parsed often.
    from botocore.exceptions import BotoCoreError, ClientError

    url = f"s3://{where['Bucket']}/{where['Key']}"
    try:
        yield
    except ClientError as error:
        raise ContactsStorageError(url, str(error.response.get("Error", {}).get("Code", "unknown"))) from error
    except BotoCoreError as error:
        raise ContactsStorageError(url, type(error).__name__) from error
