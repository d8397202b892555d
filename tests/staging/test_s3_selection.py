"""Which objects a key, a prefix, a wildcard or a manifest selects."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from airflow_provider_smartech.errors import ContactsRefused, ContactsStorageError
from airflow_provider_smartech.staging.s3_selection import Kind, Selection

KEYS = ("out/a.csv", "out/b/part-00001.csv", "out/b/part-00002.csv", "out/b/part-2.txt", "other/part-1.csv")


@pytest.fixture
def objects(s3: Any, bucket: str) -> str:
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=b"EMAIL\na@example.com\n")
    return bucket


def selection(bucket: str, kind: Kind, value: str | tuple[str, ...]) -> Selection:
    return Selection(bucket=bucket, kind=kind, value=value)


@pytest.mark.parametrize(
    ("kind", "value", "keys"),
    [
        ("s3_key", "out/a.csv", ["out/a.csv"]),
        ("s3_key", ("x.csv", "out/a.csv"), ["x.csv", "out/a.csv"]),
        ("s3_prefix", "out/b/", ["out/b/part-00001.csv", "out/b/part-00002.csv", "out/b/part-2.txt"]),
        ("s3_prefix", "nowhere/", []),
        ("s3_wildcard", "out/b/part-*.csv", ["out/b/part-00001.csv", "out/b/part-00002.csv"]),
        ("s3_wildcard", "out/*.csv", ["out/a.csv", "out/b/part-00001.csv", "out/b/part-00002.csv"]),
        ("s3_wildcard", "o*/part-[12].csv", ["other/part-1.csv"]),
        ("s3_wildcard", "out/b/part-0000?.csv", ["out/b/part-00001.csv", "out/b/part-00002.csv"]),
        ("s3_wildcard", "OUT/*", []),
    ],
)
def test_objects_are_selected_in_the_order_of_their_keys_or_as_they_are_named(
    s3: Any, objects: str, kind: Kind, value: str | tuple[str, ...], keys: list[str]
) -> None:
    assert selection(objects, kind, value).keys(s3) == keys


@pytest.mark.once
def test_more_objects_than_one_listing_shows_are_all_selected(s3: Any, bucket: str) -> None:
    for number in range(1005):
        s3.put_object(Bucket=bucket, Key=f"out/{number:05}.csv", Body=b"")
    assert len(selection(bucket, "s3_prefix", "out/").keys(s3)) == 1005


def test_an_object_that_is_named_twice_is_selected_once(s3: Any, bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    assert selection(bucket, "s3_key", ("b", "a", "b")).keys(s3) == ["b", "a"]
    assert "1 object(s) are named several times" in caplog.text


def test_a_manifest_of_redshift_names_the_objects_in_its_order(s3: Any, bucket: str) -> None:
    """The example is that of Amazon's page about UNLOAD, with the option VERBOSE."""
    entries = [
        {"url": f"s3://{bucket}/unload/venue_{part}.csv", "meta": {"content_length": 32295, "record_count": 10}}
        for part in ("0001_part_00", "0000_part_00")
    ]
    manifest = {"entries": entries, "meta": {"content_length": 64590, "record_count": 20}, "author": {"name": "A"}}
    s3.put_object(Bucket=bucket, Key="unload/manifest", Body=json.dumps(manifest).encode())
    found = selection(bucket, "s3_manifest", "unload/manifest").keys(s3)
    assert found == ["unload/venue_0001_part_00.csv", "unload/venue_0000_part_00.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("EMAIL\na@example.com\n", "it is not a manifest"),
        ("[]", "it is not a manifest"),
        ('{"files": []}', "it is not a manifest"),
        ('{"entries": ["s3://b/k"]}', "it is not a manifest"),
        ('{"entries": [{"url": 7}]}', "it is not a manifest"),
        ('{"entries": [{"url": "s3://elsewhere/k"}]}', "entry 1 of the manifest is not in the bucket"),
    ],
)
def test_what_is_no_manifest_of_this_bucket_is_refused(s3: Any, bucket: str, content: str, message: str) -> None:
    s3.put_object(Bucket=bucket, Key="manifest", Body=content.encode())
    with pytest.raises(ContactsRefused, match=re.escape(message)) as refused:
        selection(bucket, "s3_manifest", "manifest").keys(s3)
    assert refused.value.source == f"s3://{bucket}/manifest"


@pytest.mark.parametrize("kind", ["s3_prefix", "s3_manifest"])
def test_a_bucket_that_cannot_be_read_is_a_storage_error(s3: Any, kind: Kind) -> None:
    with pytest.raises(ContactsStorageError, match="NoSuchBucket"):
        selection("no-such-bucket", kind, "x").keys(s3)
