"""Lists of uploads: in pages, cut down by a filter, whatever is damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.uploads.days import Day
from airflow_provider_smartech.uploads.listing import Filter, Listing, states_of
from airflow_provider_smartech.uploads.local_folder import LocalFolder
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Conclusion, PingBack, Record
from airflow_provider_smartech.uploads_page import chart
from airflow_provider_smartech.uploads_page.chart import last_days
from tests.uploads.conftest import BEGAN, submitting, task


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


def test_a_filter_takes_all_that_wait_for_a_ping_back(listing: Listing, submit: Callable[..., str]) -> None:
    waiting = [submit(0), submit(1, {"status": "started"})]
    submit(2, {"status": "completed"})
    submit(3, answer="unknown")
    # No ping-back can come for it.
    submit(4, tracked=False)
    assert keys(listing.page(Filter(states=frozenset({"waiting"})), 9)) == waiting[::-1]


def test_a_filter_takes_those_that_were_submitted_since_then(listing: Listing, submit: Callable[..., str]) -> None:
    kept = [submit(day * 24 * 60) for day in range(4)]
    wanted = Filter(since=BEGAN + timedelta(days=1))
    assert keys(listing.page(wanted, 9)) == kept[:0:-1]
    first = listing.page(wanted, 2)
    assert keys(listing.page(wanted, 2, first.before or "")) == [kept[1]]


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
    folder = folder_of(store, keys_kept[1])
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
    reading = UploadStore.read_listed

    def noting(self: UploadStore, key: str, names: Any) -> Any:
        read.append(key)
        return reading(self, key, names)

    monkeypatch.setattr(UploadStore, "read_listed", noting)
    assert len(listing.page(Filter(), 5).uploads) == 5
    assert len(read) == 5


def test_a_list_on_s3_is_read_as_well(s3_folder: str, settings: Settings) -> None:
    store = open_upload_store(s3_folder)
    key = f"20260301T020000-{'a' * 40}"
    store.create(Record(key=key, at=BEGAN, path="https://x/y.csv", smartech_conn_id="c", tracked=True))
    assert keys(Listing(store, settings.statuses).page(Filter(), 9)) == [key]


def folder_of(store: UploadStore, key: str) -> Path:
    """The folder of an upload of the first of March in a local store."""
    return Path(store.shown_url.removeprefix("file://")) / "uploads" / "20260301" / key


def ended(store: UploadStore, key: str) -> None:
    """Store for lists what has become of an upload, as a waiter does."""
    upload = store.read(key)
    store.concluded(key, Conclusion(pingbacks=tuple(pingback.name for pingback in upload.pingbacks)))
    store.ended(store.read(key), Settings.load().statuses)


@pytest.fixture(params=["store", "s3_store"])
def any_store(request: pytest.FixtureRequest) -> UploadStore:
    if request.param == "store":
        return request.getfixturevalue("store")  # type: ignore[no-any-return]
    return open_upload_store(request.getfixturevalue("s3_folder"))


class TestUploadsThatHaveEnded:
    def test_a_list_shows_the_same_of_them_from_one_file_as_from_all(
        self, any_store: UploadStore, settings: Settings
    ) -> None:
        listing = Listing(any_store, settings.statuses)
        submit = submitting(any_store)
        kept = [
            submit(0, {"status": "completed", "total": 9, "rejected": 2}),
            submit(1, {"status": "failed"}, listid=34, task=task(dag_id="weekly")),
            submit(2, {"status": "completed"}, {"status": "failed"}),
            submit(3, {"status": "hibernating"}),
            submit(4, {"status": "completed"}, answer="unknown", rows=7, of_rows=70),
        ]
        before = listing.page(Filter(), 9)
        for key in kept:
            ended(any_store, key)
        assert listing.page(Filter(), 9) == before

    @pytest.mark.once
    def test_one_request_for_each_and_some_listings_are_enough(
        self, s3_folder: str, settings: Settings, requested: list[str]
    ) -> None:
        store = open_upload_store(s3_folder)
        submit = submitting(store)
        for minute in range(50):
            ended(store, submit(minute, {"status": "completed"}))
        requested.clear()
        page = Listing(store, settings.statuses).page(Filter(), 50)
        assert {upload.state for upload in page.uploads} == {"completed"}
        assert Counter(requested) == {"GetObject": 50, "ListObjectsV2": 3}

    def test_a_ping_back_that_comes_later_is_not_overlooked(self, any_store: UploadStore, settings: Settings) -> None:
        listing, key = Listing(any_store, settings.statuses), submitting(any_store)(0, {"status": "completed"})
        ended(any_store, key)
        any_store.add_pingback(key, PingBack(payload={"status": "failed"}))
        (shown,) = listing.page(Filter(), 9).uploads
        assert (shown.state, shown.contradicted) == ("completed", True)

    def test_a_file_of_lists_without_the_outcome_in_its_name_is_used_as_well(
        self, store: UploadStore, listing: Listing, submit: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = submit(0, {"status": "completed"})
        ended(store, key)
        folder = folder_of(store, key)
        (file,) = folder.glob("ended-*")
        # As the versions before 1.0 named it.
        file.rename(folder / f"{file.name.partition('-completed')[0]}.json")
        (before,) = listing.page(Filter(), 9).uploads
        monkeypatch.delattr(UploadStore, "read")
        assert listing.page(Filter(), 9).uploads == [before]

    def test_a_file_of_lists_that_was_made_from_other_files_is_not_used(
        self, store: UploadStore, listing: Listing, submit: Callable[..., str]
    ) -> None:
        key = submit(0, {"status": "completed"}, {"status": "completed", "total": 2})
        ended(store, key)
        folder = folder_of(store, key)
        for file in [*folder.glob("pingback-*"), *folder.glob("conclusion-*")]:
            file.unlink()
        for status in ("failed", "failed", "failed"):
            store.add_pingback(key, PingBack(payload={"status": status}))
        assert [upload.state for upload in listing.page(Filter(), 9).uploads] == ["failed"]

    def test_a_damaged_file_of_lists_is_replaced_by_the_others(
        self, store: UploadStore, listing: Listing, submit: Callable[..., str], caplog: pytest.LogCaptureFixture
    ) -> None:
        key = submit(0, {"status": "completed"})
        ended(store, key)
        folder = folder_of(store, key)
        (file,) = folder.glob("ended-*")
        file.write_text("{", "utf-8")
        assert [upload.state for upload in listing.page(Filter(), 9).uploads] == ["completed"]
        assert "Reading its other files" in caplog.text

    def test_a_store_that_refuses_the_file_of_lists_fails_nobody(
        self, store: UploadStore, submit: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upload = store.read(submit(0, {"status": "completed"}))

        def refuse(*given: Any) -> None:
            raise UploadStoreError("no space left")

        monkeypatch.setattr(LocalFolder, "write", refuse)
        store.ended(upload, Settings.load().statuses)


class TestTheChart:
    NOW = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)

    def test_a_day_that_is_over_is_stored_and_shown_the_same_from_then_on(
        self, any_store: UploadStore, settings: Settings
    ) -> None:
        listing, submit = Listing(any_store, settings.statuses), submitting(any_store)
        for minute in range(3):
            submit(minute, {"status": "completed"})
        with time_machine.travel(self.NOW):
            first = last_days(listing)
            counted = Day(date=BEGAN.date(), uploads=3, seconds=60.0, states={"completed": 3})
            assert any_store.days.all() == {BEGAN.date(): counted}
            assert last_days(listing) == first

    def test_a_day_is_counted_by_state_whether_its_uploads_are_read_or_the_names_of_their_files_say_it(
        self, store: UploadStore, listing: Listing, submit: Callable[..., str]
    ) -> None:
        said = [{"status": status} for status in ("completed", "completed", "failed", "hibernating", "started")]
        kept = [submit(minute, payload) for minute, payload in enumerate(said)]
        submit(10)
        submit(11, answer="not accepted")
        states = {"completed": 2, "failed": 1, "unrecognised": 1, "in progress": 1, "accepted": 1, "not accepted": 1}
        with time_machine.travel(self.NOW):
            read = last_days(listing)
            for file in Path(store.shown_url.removeprefix("file://")).glob("days/*"):
                file.unlink()
            for key in kept[:4]:
                ended(store, key)
            (day,) = [day for day in last_days(listing) if day.uploads]
        assert (day.uploads, day.states, day.seconds) == (7, states, 60.0)
        assert day in read
        assert store.days.all() == {day.date: day}

    def test_uploads_that_were_too_many_to_read_are_counted_as_such(
        self, listing: Listing, submit: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(chart, "READ_PER_DAY", 2)
        for minute in range(3):
            submit(minute, {"status": "failed"} if minute else {"status": "completed"})
        with time_machine.travel(self.NOW):
            (day,) = [day for day in last_days(listing) if day.uploads]
        assert chart.told(day) == "2026-03-01: 3 uploads (2 failed, 1 not read)"
        assert [part.group for part in chart.stack(day, 3, 66.0)] == ["failed or not accepted", "not read"]

    def test_one_failed_upload_among_thousands_can_be_seen(self) -> None:
        day = Day(date=BEGAN.date(), uploads=5001, seconds=None, states={"completed": 5000, "failed": 1})
        done, failed = chart.stack(day, 5001, 66.0)
        assert (done.start, failed.start) == (0.0, done.height)
        assert failed.height == chart.LEAST
        assert done.height + failed.height == pytest.approx(66.0)

    def test_a_day_that_an_earlier_version_stored_without_states_is_counted_again(
        self, store: UploadStore, listing: Listing, submit: Callable[..., str]
    ) -> None:
        submit(0, {"status": "completed"})
        folder = Path(store.shown_url.removeprefix("file://"))
        (folder / "days").mkdir()
        (folder / "days" / "20260301_7_60000").write_text("{}")
        with time_machine.travel(self.NOW):
            assert [day.uploads for day in last_days(listing) if day.uploads] == [1]
        store.purge(BEGAN + timedelta(days=9))
        assert list(folder.glob("days/*")) == []

    @pytest.mark.parametrize(("days", "is_kept"), [(0, False), (1, False), (2, False), (9, True)])
    def test_a_day_on_which_something_may_change_is_not_stored(
        self, store: UploadStore, listing: Listing, submit: Callable[..., str], days: int, is_kept: bool
    ) -> None:
        submit(0, {"status": "completed"})
        submit(1)
        with time_machine.travel(BEGAN + timedelta(days=days, hours=1)):
            last_days(listing)
        assert bool(store.days.all()) == is_kept

    @pytest.mark.once
    def test_the_days_of_a_month_take_few_requests(
        self, s3_folder: str, settings: Settings, requested: list[str]
    ) -> None:
        store = open_upload_store(s3_folder)
        submit, listing = submitting(store), Listing(store, settings.statuses)
        for day in range(30):
            for minute in range(2):
                ended(store, submit(day * 24 * 60 + minute, {"status": "completed"}))
        with time_machine.travel(BEGAN + timedelta(days=29, hours=1)):
            first = last_days(listing)
            assert [(day.uploads, day.seconds) for day in first] == [(2, 60.0)] * 30
            requested.clear()
            assert last_days(listing) == first
        # The names of the days, and for today and yesterday two listings.
        assert Counter(requested) == {"ListObjectsV2": 6}

    def test_a_purge_removes_the_days_that_are_old(self, store: UploadStore) -> None:
        counted: dict[str, Any] = {"uploads": 1, "seconds": None, "states": {"not accepted": 1}}
        old, new = (Day(date=day.date(), **counted) for day in (BEGAN, BEGAN + timedelta(days=2)))
        store.days.add(old)
        store.days.add(new)
        store.purge(BEGAN + timedelta(days=1))
        assert store.days.all() == {new.date: new}
