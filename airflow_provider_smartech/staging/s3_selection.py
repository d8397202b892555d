"""Which objects of a bucket a task uploads: those of some keys, below a prefix, of a wildcard or of a manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from airflow_provider_smartech.errors import ContactsRefused
from airflow_provider_smartech.staging.s3_errors import storage_errors

log = logging.getLogger(__name__)

Kind = Literal["s3_key", "s3_prefix", "s3_wildcard", "s3_manifest"]

# Bytes; a manifest of a hundred thousand files has about 20 million.
LARGEST_MANIFEST = 100_000_000

# Where a wildcard begins to be one, as in Airflow's own S3 operators.
WILDCARD = re.compile(r"[\[*?]")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Objects of one bucket; ``value`` is what the parameter ``kind`` says: a text, or several keys."""

    bucket: str
    kind: Kind
    value: str | tuple[str, ...]

    @property
    def described(self) -> str:
        """What it is, for messages."""
        what = self.value if isinstance(self.value, str) else f"{len(self.value):,} keys"
        return f"s3://{self.bucket}, {self.kind} {what}"

    @property
    def names(self) -> list[str]:
        """The names of the source, for lineage: the keys, the manifest's key, or the folder."""
        if not isinstance(self.value, str):
            return list(self.value)
        return [WILDCARD.split(self.value)[0] if self.kind == "s3_wildcard" else self.value]

    def fingerprint(self) -> str:
        """Return a hash that identifies it."""
        return hashlib.sha256(json.dumps([self.bucket, self.kind, self.value]).encode()).hexdigest()[:40]

    def keys(self, client: Any) -> list[str]:
        """Return the keys of the objects, in their order, each once.

        :raises ContactsRefused: the manifest cannot be used.
        :raises ContactsStorageError: the bucket cannot be listed, or the manifest not be read.
        """
        if not isinstance(self.value, str):
            found: Iterable[str] = self.value
        elif self.kind == "s3_key":
            found = [self.value]
        elif self.kind == "s3_manifest":
            found = self._of_manifest(client, self.value)
        else:
            found = self._listed(client, self.value)
        keys = list(found)
        once = list(dict.fromkeys(keys))
        if len(once) < len(keys):
            log.warning("%s object(s) are named several times, and are uploaded once.", len(keys) - len(once))
        return once

    def _listed(self, client: Any, value: str) -> Iterator[str]:
        is_wildcard = self.kind == "s3_wildcard"
        prefix = WILDCARD.split(value)[0] if is_wildcard else value
        with storage_errors({"Bucket": self.bucket, "Key": prefix}):
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                keys = (entry["Key"] for entry in page.get("Contents", []))
                yield from (key for key in keys if not is_wildcard or fnmatchcase(key, value))

    def _of_manifest(self, client: Any, key: str) -> Iterator[str]:
        """Yield what a manifest names, as Redshift's UNLOAD writes one: ``{"entries": [{"url": "s3://…"}]}``."""
        source = f"s3://{self.bucket}/{key}"
        with storage_errors({"Bucket": self.bucket, "Key": key}):
            answer = client.get_object(Bucket=self.bucket, Key=key)
            content = answer["Body"].read(LARGEST_MANIFEST)
        urls = _urls_of(content)
        # Not raised where it is found out: that error has the whole content.
        if urls is None:
            raise ContactsRefused(
                source, 'it is not a manifest, which is JSON like {"entries": [{"url": "s3://bucket/key"}]}.'
            )
        beginning = f"s3://{self.bucket}/"
        for number, url in enumerate(urls, start=1):
            if not url.startswith(beginning):
                raise ContactsRefused(source, f"entry {number} of the manifest is not in the bucket {self.bucket!r}.")
            yield url.removeprefix(beginning)


def _urls_of(content: bytes) -> list[str] | None:
    try:
        urls = [entry["url"] for entry in json.loads(content)["entries"]]
    except (ValueError, KeyError, TypeError):
        return None
    return urls if all(isinstance(url, str) for url in urls) else None
