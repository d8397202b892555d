"""Many objects: all are checked before anything is sent, several at a time."""

from __future__ import annotations

import gzip
import logging
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_smartech.errors import ContactsFilesRefused, ContactsRefused, ContactsStorageError
from airflow_provider_smartech.staging.source_objects import AT_A_TIME, changed, check_objects, remove_objects
from tests.support.transfers import keys as keys_of

ROW = b"EMAIL,NAME\na@example.com,Ana\n"


def put(s3: Any, bucket: str, **contents: bytes) -> list[str]:
    for key, content in contents.items():
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    return list(contents)


def test_objects_with_rows_are_returned_in_their_order_and_the_others_counted(s3: Any, bucket: str) -> None:
    keys = put(s3, bucket, c=ROW, _SUCCESS=b"", b=b"EMAIL,NAME\r\n", a=ROW * 2, blank=b" \n\n", marked=b"\xef\xbb\xbf")
    files, empty = check_objects(s3, bucket, keys, "EMAIL")
    assert [(file.key, file.bytes) for file in files] == [("c", len(ROW)), ("a", 2 * len(ROW))]
    assert files[0].etag == s3.head_object(Bucket=bucket, Key="c")["ETag"]
    assert empty == 4


def test_the_size_is_that_of_the_whole_object_and_not_of_what_was_read(s3: Any, bucket: str) -> None:
    big = b"EMAIL\n" + b"somebody@example.com\n" * 10_000
    files, _ = check_objects(s3, bucket, put(s3, bucket, big=big), None)
    assert files[0].bytes == len(big) > 2**17


def test_all_that_cannot_be_loaded_are_named_in_one_error(s3: Any, bucket: str) -> None:
    keys = put(s3, bucket, good=ROW, zipped=gzip.compress(ROW), parquet=b"PAR1....PAR1", nobody=b"NAME\nAna\n")
    with pytest.raises(ContactsFilesRefused) as caught:
        check_objects(s3, bucket, [*keys, "missing"], "EMAIL")
    assert [one.source.rpartition("/")[2] for one in caught.value.refused] == [*keys[1:], "missing"]
    lines = str(caught.value).splitlines()
    assert lines[0] == f"The contacts from s3://{bucket} were not uploaded: 4 of 5 files cannot be loaded:"
    assert lines[1].startswith(f"s3://{bucket}/zipped: the object is compressed with gzip.")
    assert lines[4].startswith(f"s3://{bucket}/missing: there is no such object")


def test_files_with_other_columns_than_the_first_are_refused_without_showing_whom_they_hold(
    s3: Any, bucket: str
) -> None:
    keys = put(s3, bucket, first=ROW, swapped=b"NAME,EMAIL\nAna,a@example.com\n", headerless=b"b@example.com,Ben\n")
    with pytest.raises(ContactsRefused, match="headerless were not uploaded: it has other columns than") as caught:
        check_objects(s3, bucket, keys, None)
    assert "b@example.com" not in str(caught.value)


def test_the_only_object_that_is_refused_has_its_own_error(s3: Any, bucket: str) -> None:
    with pytest.raises(ContactsRefused) as caught:
        check_objects(s3, bucket, put(s3, bucket, good=ROW, bad=b"\nEMAIL\n"), None)
    assert not isinstance(caught.value, ContactsFilesRefused)
    assert caught.value.source == f"s3://{bucket}/bad"


def test_an_object_that_cannot_be_read_is_a_storage_error_that_may_pass(s3: Any, bucket: str) -> None:
    denied = {"Error": {"Code": "AccessDenied", "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    answer = SimpleNamespace(status_code=403, headers={})
    s3.meta.events.register_first("before-call.s3.GetObject", lambda **_: (answer, denied))
    with pytest.raises(ContactsStorageError, match="AccessDenied"):
        check_objects(s3, bucket, ["a", "b"], None)


def test_several_are_read_at_a_time_and_never_more_than_that(s3: Any, bucket: str) -> None:
    keys = put(s3, bucket, **{f"k{number}": ROW for number in range(40)})
    together, lock, most = threading.Barrier(AT_A_TIME, timeout=20), threading.Lock(), [0, 0]

    def begins(**_: Any) -> None:
        with lock:
            most[0] += 1
            most[1] = max(most)
        # Forty are four times ten: each waits for nine others.
        together.wait()

    def ends(**_: Any) -> None:
        with lock:
            most[0] -= 1

    s3.meta.events.register("before-call.s3.GetObject", begins)
    s3.meta.events.register("after-call.s3.GetObject", ends)
    files, _ = check_objects(s3, bucket, keys, None)
    assert [file.key for file in files] == keys
    assert most[1] == AT_A_TIME


def test_the_log_says_how_far_it_is(
    s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("airflow_provider_smartech.staging.source_objects.LOG_INTERVAL_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        check_objects(s3, bucket, put(s3, bucket, a=ROW, b=b""), None)
    assert "Checked 1 of 2 objects." in caplog.messages
    assert "Checked 2 object(s): 0.0 MB to upload, 1 without a row." in caplog.messages


def test_what_was_replaced_or_removed_is_known_and_what_was_replaced_is_not_removed(
    s3: Any, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = put(s3, bucket, same=ROW, replaced=ROW, gone=ROW)
    files, _ = check_objects(s3, bucket, keys, None)
    put(s3, bucket, replaced=ROW * 2)
    s3.delete_object(Bucket=bucket, Key="gone")
    assert changed(s3, bucket, files) == [("replaced", "replaced"), ("gone", "removed")]
    remove_objects(s3, bucket, files)
    assert keys_of(s3, bucket, "") == ["replaced"]
    assert f"s3://{bucket}/replaced was replaced since it was uploaded, and is not removed." in caplog.messages
