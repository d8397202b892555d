"""Lists of uploads: in pages, cut down by a filter, whatever is damaged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.uploads.listing import Filter, Listing, states_of
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import PingBack, Record
from airflow_provider_smartech.uploads_page.chart import last_days
from tests.uploads.conftest import BEGAN, task


@pytest.fixture
def listing(store: UploadStore, settings: Settings) -> Listing:
    return Listing(store, settings.statuses)


def keys(found: Any) -> list[str]:
    return [upload.key for upload in found.uploads]


def test_pages_follow_each_other_newest_first_without_a_gap(listing: Listing, submit: Callable[..., str]) -> None:
    kept = [submit(minute) for minute in range(7)][::-1]
    first = listing.page(Filter(), 3)
    second = listing.page(Filter(), 3, first.before or "")
    third = listing.page(Filter(), 3, second.before or "")
    assert keys(first) + keys(second) + keys(third) == kept
    assert first.before
    assert second.before
    assert third.before is None


def test_the_last_page_offers_no_other_when_it_is_full(listing: Listing, submit: Callable[..., str]) -> None:
    for minute in range(3):
        submit(minute)
    assert listing.page(Filter(), 3).before is None
    assert listing.page(Filter(), 2).before is not None


def test_a_filter_takes_what_is_so_in_every_respect(listing: Listing, submit: Callable[..., str]) -> None:
    done = submit(0, {"status": "completed"})
    failed = submit(1, {"status": "failed"}, listid=34, task=task(dag_id="weekly"))
    waiting = submit(2, path="https://x.example.com/churn-Ä.csv")
    assert keys(listing.page(Filter(states=frozenset({"completed"})), 9)) == [done]
    assert keys(listing.page(Filter(states=frozenset({"completed", "failed"})), 9)) == [failed, done]
    assert keys(listing.page(Filter(listid=34), 9)) == [failed]
    assert keys(listing.page(Filter(dag_id="weekly"), 9)) == [failed]
    assert keys(listing.page(Filter(text="CHURN-ä"), 9)) == [waiting]
    assert keys(listing.page(Filter(text="R1"), 9)) == [failed]
    assert keys(listing.page(Filter(states=frozenset({"failed"}), listid=33), 9)) == []
    unknown = submit(3, answer="unknown")
    assert keys(listing.page(Filter(text=unknown), 9)) == [unknown]
    assert keys(listing.page(Filter(text=done), 9)) == []


def test_a_filter_takes_all_that_needs_attention(listing: Listing, submit: Callable[..., str]) -> None:
    submit(0, {"status": "completed"})
    started = submit(1, {"status": "started"})
    needy = [
        submit(10, {"status": "failed"}),
        submit(11, {"status": "hibernating"}),
        submit(12, answer="unknown"),
        submit(13, answer="not accepted"),
        submit(14, {"status": "completed", "total": 9, "rejected": 2}),
        submit(15, {"status": "completed"}, {"status": "failed"}),
    ]
    assert keys(listing.page(Filter(states=frozenset({"attention"})), 9)) == needy[::-1]
    assert keys(listing.page(Filter(states=frozenset({"attention", "in progress"})), 9)) == [*needy[::-1], started]


def test_states_are_named_in_a_list_with_commas() -> None:
    assert states_of(" failed,outcome unknown ,,") == ["failed", "outcome unknown"]
    assert states_of(" ") == []


def test_a_filter_finds_all_that_it_takes_page_by_page(listing: Listing, submit: Callable[..., str]) -> None:
    wanted = [submit(minute, listid=34 if minute % 3 else 33) for minute in range(20)]
    expected = [key for minute, key in enumerate(wanted) if not minute % 3][::-1]
    found: list[str] = []
    before: str | None = ""
    while before is not None:
        page = listing.page(Filter(listid=33), 3, before)
        found += keys(page)
        before = page.before
    assert found == expected


def test_a_search_without_luck_stops_in_time_and_says_where_to_go_on(
    listing: Listing, submit: Callable[..., str]
) -> None:
    kept = [submit(minute) for minute in range(5)]
    wanted = Filter(states=frozenset({"failed"}))
    page = listing.page(wanted, 2, seconds=0)
    assert (page.uploads, page.before) == ([], kept[3])
    assert listing.page(wanted, 9, seconds=0).before is None


def test_what_the_reader_may_not_see_is_left_out(
    store: UploadStore, settings: Settings, submit: Callable[..., str]
) -> None:
    seen, _ = submit(0), submit(1, task=task(dag_id="secret"))
    listing = Listing(store, settings.statuses, lambda upload: bool(upload.task and upload.task.dag_id != "secret"))
    assert keys(listing.page(Filter(), 9)) == [seen]


def test_a_damaged_upload_is_shown_as_such_and_one_that_was_removed_is_not(
    store: UploadStore, listing: Listing, submit: Callable[..., str]
) -> None:
    damaged, removed = submit(0), submit(1)
    folder = Path(store.shown_url.removeprefix("file://")) / "uploads" / "20260301"
    (folder / damaged / "record.json").write_text("{", "utf-8")
    (folder / removed / "record.json").unlink()
    page = listing.page(Filter(), 9)
    assert [(upload.key, upload.state, upload.submitted_at) for upload in page.uploads] == [
        (damaged, "unreadable", BEGAN)
    ]
    for word in ("unreadable", "attention"):
        assert keys(listing.page(Filter(states=frozenset({word})), 9)) == [damaged]


@pytest.mark.parametrize("file", ["record.json", "pingback"])
def test_an_upload_with_a_folder_in_place_of_a_file_is_unreadable_and_disturbs_no_other(
    store: UploadStore, listing: Listing, submit: Callable[..., str], file: str
) -> None:
    keys_kept = [submit(minute, {"status": "completed"}) for minute in range(3)]
    folder = Path(store.shown_url.removeprefix("file://")) / "uploads" / "20260301" / keys_kept[1]
    (damaged,) = folder.glob(f"{file}*")
    damaged.unlink()
    damaged.mkdir()
    states = [upload.state for upload in listing.page(Filter(), 9).uploads]
    assert states == ["completed", "unreadable", "completed"]


@pytest.mark.parametrize("file", ["record.json", "pingback"])
def test_an_archived_upload_is_unreadable_and_disturbs_no_other_and_not_the_chart(
    s3: Any, bucket: str, s3_folder: str, settings: Settings, file: str
) -> None:
    store, now = open_upload_store(s3_folder), datetime.now(UTC)
    kept = [f"{now - timedelta(seconds=age):%Y%m%dT%H%M%S}-{age:040x}" for age in (2, 1, 0)]
    for key in kept:
        store.create(Record(key=key, at=now, path="https://x/y.csv", smartech_conn_id="c", tracked=True))
        at = now + timedelta(seconds=60)
        store.add_pingback(key, PingBack(payload={"status": "completed"}, at=at))
    found = s3.list_objects_v2(Bucket=bucket, Prefix=f"prefix/uploads/{kept[1][:8]}/{kept[1]}/{file}")["Contents"]
    s3.put_object(Bucket=bucket, Key=found[0]["Key"], Body=b"{}", StorageClass="GLACIER")
    listing = Listing(store, settings.statuses)
    states = [upload.state for upload in listing.page(Filter(), 9).uploads]
    assert states == ["completed", "unreadable", "completed"]
    today = last_days(listing)[-1]
    assert (today.uploads, today.seconds) == (3, 60.0)


@pytest.mark.parametrize("call", ["GetObject", "ListObjectsV2"])
def test_a_storage_that_is_too_busy_for_one_upload_is_an_error_and_makes_none_unreadable(
    s3_folder: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store = open_upload_store(s3_folder)
    for number in range(3):
        key = f"20260301T02000{number}-{'a' * 40}"
        store.create(Record(key=key, at=BEGAN, path="https://x/y.csv", smartech_conn_id="c", tracked=True))
    listing, called, ask = Listing(store, settings.statuses), list[str](), BaseClient._make_api_call

    def busy(self: BaseClient, operation: str, arguments: Any) -> Any:
        if operation == call and not called:
            called.append(operation)
            # As botocore gives a 503, when it has tried often enough.
            said = {"Error": {"Code": "SlowDown", "Message": "Please reduce your request rate."}}
            raise ClientError(said, operation)
        return ask(self, operation, arguments)

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", busy)
        with pytest.raises(UploadStoreError, match="reduce your request rate"):
            listing.page(Filter(), 9)
    assert len(listing.page(Filter(), 9).uploads) == 3


def test_a_folder_with_an_impossible_date_does_not_break_the_list(store: UploadStore, listing: Listing) -> None:
    folder = Path(store.shown_url.removeprefix("file://")) / "uploads" / "20269999" / f"20269999T999999-{'a' * 40}"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{", "utf-8")
    assert [upload.state for upload in listing.page(Filter(), 9).uploads] == ["unreadable"]


def test_a_list_reads_no_more_than_it_shows(
    store: UploadStore, listing: Listing, submit: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in range(30):
        submit(minute)
    read: list[str] = []
    reading = UploadStore.read

    def noting(self: UploadStore, key: str) -> Any:
        read.append(key)
        return reading(self, key)

    monkeypatch.setattr(UploadStore, "read", noting)
    assert len(listing.page(Filter(), 5).uploads) == 5
    assert len(read) == 5


def test_a_list_on_s3_is_read_as_well(s3_folder: str, settings: Settings) -> None:
    store = open_upload_store(s3_folder)
    key = f"20260301T020000-{'a' * 40}"
    store.create(Record(key=key, at=BEGAN, path="https://x/y.csv", smartech_conn_id="c", tracked=True))
    assert keys(Listing(store, settings.statuses).page(Filter(), 9)) == [key]
