"""The errors of S3's client, as one of this provider's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_smartech.errors import ContactsStorageError


@contextmanager
def storage_errors(where: dict[str, str]) -> Iterator[None]:
    """Turn what S3's client raises into one error."""
    # Imported late: boto3 is slow to import, and DAG files are parsed often.
    from botocore.exceptions import BotoCoreError, ClientError

    url = f"s3://{where['Bucket']}/{where['Key']}"
    try:
        yield
    except ClientError as error:
        raise ContactsStorageError(url, str(error.response.get("Error", {}).get("Code", "unknown"))) from error
    except BotoCoreError as error:
        raise ContactsStorageError(url, type(error).__name__) from error
