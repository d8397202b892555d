"""What this provider shows in Airflow's UI, in a real browser, and in an Airflow that is served below a path prefix."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.sync_api import Browser, FrameLocator, Locator, Page, expect
from playwright.sync_api import TimeoutError as BrowserTimeout

from airflow_provider_smartech.config.options import OPTIONS
from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.sandbox import SandboxServer
from airflow_provider_smartech.uploads.overview import MEANINGS
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Answer, Conclusion, PingBack, Record, TaskTry
from airflow_provider_smartech.uploads_page import access
from airflow_provider_smartech.uploads_page.app import create_app
from tests.conftest import API_KEY
from tests.support.browser import chromium
from tests.support.file_server import FileServer
from tests.support.odd_uploads import HOSTILE, keep_odd_ones
from tests.support.records import record, task
from tests.support.servers import AppServer
from tests.support.standalone_airflow import Airflow

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).parents[2]
DAGS = Path(__file__).parents[1] / "dags"
# Where pictures for the documentation are put, if they are wanted.
SCREENSHOTS = os.environ.get("SCREENSHOTS")
STATES = ("in progress", "completed", "failed", "unrecognised", "accepted", "outcome unknown", "not accepted")
GROUPS = ("completed", "no", "unrecognised", "failed")
PANEL = "https://panel.example.com/"


def fill(store: UploadStore) -> None:
    """Keep a month of uploads: all states, three lists, and one upload whose every text is hostile."""
    now = datetime.now(UTC)
    for number in range(80):
        at = now - timedelta(hours=9 * number, minutes=20 + 7 * number % 50)
        state = STATES[number] if number < len(STATES) else STATES[2 if number % 11 == 0 else 1]
        random = hashlib.sha256(str(number).encode()).hexdigest()
        key = f"{at:%Y%m%dT%H%M%S}-{random[:40]}"
        names = [("nightly_contacts", "sync"), ("churn_scores", "upload"), ("loyalty_points", "sync")]
        dag_id, task_id = names[number % 3]
        run_id = f"scheduled__{at:%Y-%m-%dT02:00:00+00:00}"
        task = TaskTry(dag_id=dag_id, run_id=run_id, task_id=task_id, try_number=1, max_tries=2)
        folder = "https://my-company-staging.s3.ap-south-1.amazonaws.com/contacts"
        fields: dict[str, Any] = {"listid": 33 + number % 3, "idc": "in", "rows": 100_000 - 777 * number}
        store.create(
            Record(
                key=key,
                at=at,
                path=f"{folder}/{random[:32]}/contacts-00001.csv",
                smartech_conn_id="smartech_default",
                tracked=True,
                task=task,
                **fields,
            )
        )
        outcome = {"not accepted": "not accepted", "outcome unknown": "unknown"}.get(state, "accepted")
        requestid = random[32:] if outcome == "accepted" else None
        answer = {"at": at + timedelta(seconds=1), "outcome": outcome, "requestid": requestid}
        store.answered(key, Answer.model_validate(answer))
        said = {"completed": "completed", "failed": "failed", "unrecognised": "hibernating", "in progress": "started"}
        if state in said:
            pinged = at + timedelta(minutes=11 + number * 37 % 50)
            payload = {"status": said[state], "total": fields["rows"], "accepted": fields["rows"] - 12}
            store.add_pingback(key, PingBack(at=pinged, payload=payload))
    keep_odd_ones(store, now)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    home = tmp_path_factory.mktemp("airflow") / "home"
    with pytest.MonkeyPatch.context() as patch:
        # Hundreds of files need no safety from a power cut.
        patch.setattr("os.fsync", lambda descriptor: None)
        fill(open_upload_store(f"file://{home}/smartech"))
    with FileServer(ROOT / "example_dags") as files, SandboxServer(api_key=API_KEY) as sandbox:
        connection = {"conn_type": "smartech", "password": API_KEY, "host": sandbox.api_url}
        settings = {
            "AIRFLOW_CONN_SMARTECH_DEFAULT": json.dumps({**connection, "extra": {"idc": "in", "panel_url": PANEL}}),
            "AIRFLOW_VAR_SIGNED_CSV": f"{files.url}/smartech_warehouse_sync.sql?X-Amz-Signature=s1gnature",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
                {"type": "file", "log_file_path": str(home / "lineage.json")}
            ),
            "MANY": "2",
        }
        airflow = Airflow(home, DAGS, settings, prefix="/team/airflow")
        try:
            airflow.start(("two_steps",))
            yield airflow
        finally:
            airflow.stop()


def log_in(airflow: Airflow, page: Page) -> None:
    user, password = airflow.login()
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", password)
    page.keyboard.press("Enter")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def cookies(airflow: Airflow, browser: Browser) -> Any:
    """What the browser holds after a login that began at the uploads page."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{airflow.url}/smartech-uploads/?state=failed")
        assert "/auth/login" in page.url
        log_in(airflow, page)
        expect(page.get_by_role("heading", name="Smartech uploads")).to_be_visible()
        assert page.url == f"{airflow.url}/smartech-uploads/?state=failed"
        return context.cookies()


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(browser: Browser, cookies: Any) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        context.add_cookies(cookies)
        page = context.new_page()
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        yield page
        assert failures == []


@pytest.fixture
def frame(airflow: Airflow, page: Page) -> FrameLocator:
    """The page in its place in Airflow's UI."""
    page.goto(f"{airflow.url}/plugin/smartech-uploads")
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Smartech uploads")).to_be_visible()
    return frame


def picture(shown: Page | Locator, name: str) -> None:
    if SCREENSHOTS:
        shown.screenshot(path=f"{SCREENSHOTS}/{name}.png")


def rows(frame: FrameLocator) -> Any:
    return frame.locator("tbody tr")


def test_airflow_s_menu_leads_to_the_newest_uploads(airflow: Airflow, page: Page) -> None:
    page.goto(airflow.url)
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Smartech uploads").click()
    frame = page.frame_locator("iframe")
    expect(rows(frame)).to_have_count(25)
    submitted = rows(frame).locator("time").all_inner_texts()
    assert submitted == sorted(submitted, reverse=True)
    expect(rows(frame).filter(has_text="100,000")).to_contain_text("33 India")
    # The chart has become a part of the page, so that its bars have names.
    bars = frame.locator(".chart").get_by_role("img", name=re.compile("uploads? \\("))
    expect(bars.last).to_have_accessible_name(re.compile(r"^20\d\d-\d\d-\d\d: \d uploads? \(1 \w+"))
    assert bars.count() >= 28
    fills = {kind: bars.locator(f".bar-{kind}").first.evaluate("e => getComputedStyle(e).fill") for kind in GROUPS}
    assert len(set(fills.values())) == 4


def test_the_line_on_top_leads_to_those_that_it_counts(airflow: Airflow, page: Page) -> None:
    page.goto(f"{airflow.url}/smartech-uploads/")
    expect(page.locator(".lately")).to_have_text(re.compile(r"In the last 24 hours:\s+1 waiting\s+1 failed\s+0 unrec"))
    for name, state in (("1 waiting", "in progress"), ("1 failed", "failed")):
        page.get_by_role("link", name=name).click()
        expect(page.locator("tbody .state")).to_have_text([state])
        expect(page.get_by_label("Submitted")).to_have_value("24")


def test_it_is_cut_down_by_a_filter(frame: FrameLocator) -> None:
    frame.get_by_label("State").select_option("failed")
    frame.get_by_label("DAG").fill("churn_scores")
    frame.get_by_role("button", name="Filter").click()
    expect(rows(frame).first).to_contain_text("churn_scores.upload")
    assert set(rows(frame).locator(".state").all_inner_texts()) == {"failed"}
    assert all("churn_scores" in text for text in rows(frame).all_inner_texts())
    expect(frame.get_by_label("DAG")).to_have_value("churn_scores")
    frame.get_by_label("List", exact=True).fill("no number")
    frame.get_by_role("button", name="Filter").click()
    expect(frame.get_by_text("No upload matches.")).to_be_visible()


def test_all_that_need_a_look_are_one_choice_of_the_filter(frame: FrameLocator) -> None:
    frame.get_by_text("What the states mean").click()
    meaning = frame.get_by_text("Smartech accepted it; no ping-back has come yet.")
    expect(meaning).to_be_visible()
    frame.get_by_label("State").select_option("needs a look")
    frame.get_by_role("button", name="Filter").click()
    # The new list has its explanation folded.
    expect(meaning).to_be_hidden()
    expect(rows(frame)).to_have_count(25)
    expect(frame.get_by_label("State")).to_have_value("attention")
    found = set(rows(frame).locator(".state").all_inner_texts())
    assert {"failed", "unrecognised", "outcome unknown", "not accepted"} <= found
    assert not found & {"accepted", "in progress"}


def test_older_ones_are_pages_away(frame: FrameLocator) -> None:
    seen = rows(frame).locator(".id").all_inner_texts()
    newest = seen[0]
    for _ in range(3):
        frame.get_by_role("link", name="Older").click()
        expect(rows(frame).locator(".id").first).not_to_have_text(seen[-25])
        seen += rows(frame).locator(".id").all_inner_texts()
    assert len(seen) == len(set(seen)) >= 81
    assert frame.get_by_role("link", name="Older").count() == 0
    frame.get_by_role("link", name="Newest").click()
    expect(rows(frame).locator(".id").first).to_have_text(newest)


def test_an_upload_has_a_page_with_its_time_line_from_which_a_link_leads_to_its_task(
    page: Page, frame: FrameLocator
) -> None:
    completed = rows(frame).filter(has=frame.get_by_text("completed", exact=True)).first
    task = completed.locator("td").nth(8).get_by_role("link").inner_text()
    completed.locator(".id").click()
    expect(frame.locator(".timeline li")).to_have_count(4)
    told = frame.locator(".timeline li").all_inner_texts()
    words = ["record written", "Smartech accepted it as", "ping-back: completed", "completed"]
    assert all(word in text for word, text in zip(words, told, strict=True))
    expect(frame.locator("pre")).to_contain_text('"accepted": ')
    picture(page, "upload")
    frame.get_by_role("link", name=task).click()
    dag_id, _, task_id = task.partition(".")
    page.wait_for_url(f"**/team/airflow/dags/{dag_id}/runs/scheduled__*/tasks/{task_id}")


def test_a_pingback_that_is_not_recognised_is_shown_with_how_it_was_read_and_what_would_make_it_known(
    frame: FrameLocator,
) -> None:
    rows(frame).filter(has=frame.get_by_text("unrecognised", exact=True)).first.locator(".id").click()
    reading = frame.locator(".reading")
    expect(reading).to_contain_text("Field status, word 'hibernating'")
    words = OPTIONS["completed_words"]["default"]
    expect(reading).to_contain_text(f"If it means that the contacts are loaded: completed_words = {words}, hibernating")


def test_nothing_in_a_payload_or_a_name_is_taken_for_html(page: Page, frame: FrameLocator) -> None:
    frame.get_by_label("File or requestid").fill(HOSTILE)
    frame.get_by_role("button", name="Filter").click()
    expect(rows(frame)).to_have_count(1)
    expect(frame.get_by_label("File or requestid")).to_have_value(HOSTILE)
    for text in (f"{HOSTILE}.{HOSTILE}[3]", f"request {HOSTILE}"):
        expect(frame.get_by_role("link", name=text, exact=True)).to_be_visible()
    rows(frame).locator(".id").click()
    expect(frame.locator("pre")).to_contain_text(json.dumps(HOSTILE, ensure_ascii=False))
    assert frame.locator("img").count() == 0
    assert all(inner.evaluate("window.hacked") is None for inner in page.frames)


CONTRASTS = """() => {
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const numbers = color => color.match(/[\\d.]+/g).map(Number);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const color = numbers(getComputedStyle(element).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
  };
  const isText = node => node.nodeType === 3 && node.data.trim();
  return [...document.querySelectorAll("body *")].filter(e => [...e.childNodes].some(isText))
    .filter(e => !["SCRIPT", "OPTION", "title"].includes(e.tagName))
    .map(e => [getComputedStyle(e)[e.ownerSVGElement ? "fill" : "color"], e])
    .map(([color, e]) => [light(numbers(color)), light(behind(e))].sort((a, b) => b - a))
    .map(([a, b]) => (a + .05) / (b + .05));
}"""


def test_every_text_can_be_read_in_the_theme_that_airflow_has(airflow: Airflow, page: Page, theme: str) -> None:
    page.add_init_script(f"localStorage.theme = '{theme}'; localStorage.timezone = '\"Asia/Kolkata\"'")
    page.goto(f"{airflow.url}/plugin/smartech-uploads")
    frame = page.frame_locator("iframe")
    expect(rows(frame)).to_have_count(25)
    expect(frame.locator("html")).to_have_css(
        "background-color", {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 20, 24)"}[theme]
    )
    expect(frame.locator(".chart svg")).to_be_visible()
    contrasts = frame.locator("html").evaluate(f"element => ({CONTRASTS})()")
    assert len(contrasts) > 100
    # WCAG's level AA.
    assert min(contrasts) > 4.5
    # As the times of Airflow's own pages, whatever the zone of the browser is.
    expect(frame.locator(".zone")).to_have_text("Asia/Kolkata")
    time = rows(frame).locator("time").first
    at = datetime.fromisoformat(str(time.get_attribute("datetime")))
    expect(time).to_have_text(f"{at.astimezone(ZoneInfo('Asia/Kolkata')):%Y-%m-%d %H:%M:%S}")
    expect(time).to_have_attribute("title", f"{at:%Y-%m-%d %H:%M:%S} UTC")
    picture(page, {"light": "uploads", "dark": "uploads-dark"}[theme])


def test_without_a_login_there_is_nothing_to_see(airflow: Airflow) -> None:
    key = next(open_upload_store(f"file://{airflow.home}/smartech").keys())
    with httpx.Client(trust_env=False) as anybody:
        paths = ["", key, "chart.svg", f"task/{'a' * 40}", f"requestid?requestid={key}", "no/such"]
        answers = [anybody.get(f"{airflow.url}/smartech-uploads/{path}") for path in paths]
        forged = {"Authorization": "Bearer forged", "Cookie": "_token=forged"}
        answers += [anybody.get(f"{airflow.url}/smartech-uploads/", headers=forged)]
    for answer in answers[:5]:
        assert (answer.status_code, answer.content) == (303, b"")
        assert answer.headers["location"].startswith(
            "/team/airflow/api/v2/auth/login?next=%2Fteam%2Fairflow%2Fsmartech-"
        )
    assert [answer.status_code for answer in answers[5:]] == [404, 403]
    assert all("Upload" not in answer.text for answer in answers)


def test_the_links_of_a_task_lead_to_its_upload_and_to_the_panel(airflow: Airflow, page: Page) -> None:
    run_id = airflow.trigger("two_steps", {"faults": ""})
    airflow.finish("two_steps", run_id)
    requestid = airflow.xcom("two_steps", run_id, "upload")

    def links(task_id: str) -> dict[str, str]:
        found = airflow.get(f"/dags/two_steps/dagRuns/{run_id}/taskInstances/{task_id}/links")["extra_links"]
        return dict(found)

    assert links("upload")["Smartech panel"] == PANEL
    for task_id in ("upload", "wait"):
        # As one who has yet to log in.
        page.context.clear_cookies()
        page.goto(links(task_id)["Smartech upload"])
        log_in(airflow, page)
        page.wait_for_url("**/team/airflow/smartech-uploads/20*")
        expect(page.get_by_role("heading", level=1)).to_contain_text(requestid)
    # What the sandbox says of a file that is no CSV, by a callback below the prefix.
    expect(page.locator(".timeline")).to_contain_text("ping-back: ")


def test_openlineage_is_told_of_the_file_and_the_list_and_of_no_secret(airflow: Airflow) -> None:
    run_id = airflow.trigger("two_steps", {"faults": ""})
    airflow.finish("two_steps", run_id)

    def told() -> list[dict[str, Any]]:
        # A file that is being written is not whole yet.
        texts = [file.read_text("utf-8") for file in airflow.home.glob("lineage.json*")]
        events = [json.loads(text) for text in texts if text.endswith("}\n")]
        named = [event for event in events if event["job"]["name"] == "two_steps.upload"]
        return [event for event in named if event["eventType"] == "COMPLETE"]

    airflow.wait(lambda: bool(told()), "the lineage is told")
    ((source,), (target,)) = told()[-1]["inputs"], told()[-1]["outputs"]
    assert (source["namespace"][:17], source["name"]) == ("http://127.0.0.1:", "smartech_warehouse_sync.sql")
    assert (target["namespace"], target["name"]) == ("smartech://in", "33")
    written = "".join(file.read_text("utf-8") for file in airflow.home.glob("lineage.json*"))
    assert "s1gnature" not in written
    assert API_KEY not in written


def choose(box: Locator, option: Locator) -> None:
    """Open a drop-down and take an option; what shows the choice lies above the field that takes the click."""
    for _ in range(5):
        # While the form unfolds, a click may miss.
        box.click(force=True)
        try:
            return option.click(timeout=3000)
        except BrowserTimeout:
            continue
    raise AssertionError("the drop-down does not open")


def test_the_form_of_a_connection_has_what_smartech_needs_and_nothing_else(airflow: Airflow, page: Page) -> None:
    page.goto(f"{airflow.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    # What shows the choice lies above the field that takes it.
    form.get_by_role("combobox").first.click(force=True)
    page.keyboard.type("Netcore Smartech")
    page.keyboard.press("Enter")
    form.get_by_label("Connection ID").fill("smartech_test")
    for label in ("Base URL", "API key"):
        expect(form.get_by_text(label, exact=True)).to_be_visible()
    for label in ("Login", "Port", "Schema"):
        expect(form.get_by_text(label, exact=True)).to_have_count(0)
    expect(form.locator("input[name=host]")).to_have_attribute("placeholder", re.compile("^empty, unless"))
    expect(form.locator("input[name=password]")).to_have_attribute("type", "password")
    picture(form, "connection")
    form.locator("input[name=password]").fill(API_KEY)
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    for label in ("IDC", "Default list", "Default notify e-mail", "Panel URL"):
        expect(form.get_by_text(label, exact=True)).to_be_visible()
    expect(form.get_by_text("Smartech's data centre that holds your account")).to_be_visible()
    picture(form, "connection-extras")
    choose(form.get_by_role("combobox").nth(1), page.get_by_role("option", name=re.compile("^(India|in)$")))
    form.get_by_role("button", name="Save").click()
    expect(form).to_have_count(0)
    kept = airflow.get("/connections/smartech_test")
    assert (kept["conn_type"], json.loads(kept["extra"])["idc"]) == ("smartech", "in")
    assert API_KEY not in json.dumps(kept)


def test_addresses_that_the_page_does_not_give_are_errors_and_not_a_breakdown(airflow: Airflow, page: Page) -> None:
    statuses = {
        "?before=../x": 422,
        "task/x": 422,
        "task/a/b": 404,
        "20260101T000000-" + "0" * 40: 404,
        "requestid?requestid=unknown": 404,
        "..%2f..%2fetc": 404,
        "?text=" + "x" * 251: 422,
        "?listid=99999999999999999999": 200,
        "?state=nonsense&dag_id=%00": 200,
    }
    for path, status in statuses.items():
        answer = page.goto(f"{airflow.url}/smartech-uploads/{path}")
        assert answer
        assert (path, answer.status) == (path, status)


def test_all_uploads_of_a_task_are_listed_a_damaged_one_included(store: UploadStore) -> None:
    task = TaskTry(dag_id="d", run_id="r", task_id="t", try_number=1, max_tries=2)
    keys = [f"2026010{number}T000000-{number:040x}" for number in range(1, 4)]
    for number, key in enumerate(keys):
        fields = {"task": task.for_part(number), "path": f"https://x.example.com/{number}.csv"}
        store.create(Record.model_validate({"key": key, "smartech_conn_id": "c", "tracked": True, **fields}))
    (Path(store.shown_url.removeprefix("file://")) / "uploads" / keys[1][:8] / keys[1] / "record.json").write_text("{")
    app = create_app(store)
    app.dependency_overrides[access.may_see] = lambda: lambda upload: True
    with AppServer(app) as server:
        shown = httpx.get(f"{server.url}/task/{task.instance()}").text
    assert [key in shown for key in keys] == [True, True, True]
    assert "unreadable" in shown


def test_a_requestid_of_two_accounts_leads_to_both_with_what_became_of_their_rows(store: UploadStore) -> None:
    payload: Any = {"status": "completed", "total": 1200, "accepted": 1000, "rejected": 200}
    for number, name in enumerate(("retail", "travel")):
        key = f"2026010{number + 1}T000000-{number:040x}"
        fields: dict[str, Any] = {"path": f"https://x.example.com/{name}.csv", "account_name": name, "listid": 33}
        fields |= {"account": name, "idc": "in"}
        store.create(Record.model_validate({"key": key, "smartech_conn_id": "c", "tracked": True, **fields}))
        store.answered(key, Answer(outcome="accepted", requestid="r1"))
        store.add_pingback(key, PingBack(payload=payload))
    store.concluded(key, Conclusion(pingbacks=tuple(one.name for one in store.read(key).pingbacks)))
    store.add_pingback(key, PingBack(payload={"status": "failed"}))
    app = create_app(store)
    app.dependency_overrides[access.may_see] = lambda: lambda upload: True
    with AppServer(app) as server:
        found = httpx.get(f"{server.url}/requestid?requestid=r1").text
        one = httpx.get(f"{server.url}/{key}").text
    retail, travel = [row for row in found.split("<tr ") if ".csv" in row]
    if "retail" not in retail:
        retail, travel = travel, retail
    for row, name in ((retail, "retail"), (travel, "travel")):
        assert f"India, {name}" in row
        assert re.findall(r'class="number" data-label="[A-Z][a-z]+">([^<]*)', row)[:3] == ["1,200", "1,000", "200"]
        assert "with rejected rows" in row
    assert "contradicted" not in retail
    for shown in (travel, one):
        assert "contradicted" in shown
    assert "completed: 1,000 accepted, 200 rejected of 1,200 rows; its ping-backs contradict each other" in one


def test_the_list_explains_the_states_and_takes_several_and_all_that_need_a_look(store: UploadStore) -> None:
    for number, said in enumerate(("completed", "failed", "hibernating", "started")):
        key = f"2026010{number + 1}T000000-{number:040x}"
        store.create(Record(key=key, path=f"https://x.example.com/{said}.csv", smartech_conn_id="c", tracked=True))
        store.add_pingback(key, PingBack(payload={"status": said}))
    app = create_app(store)
    app.dependency_overrides[access.may_see] = lambda: lambda upload: True
    with AppServer(app) as server:

        def listed(query: str) -> tuple[str, list[str]]:
            shown = httpx.get(f"{server.url}/?{query}").text
            return shown, re.findall(r'class="file" data-label="File">(\w+)\.csv', shown)

        shown, files = listed("")
        assert files == ["started", "hibernating", "failed", "completed"]
        for state, meaning in MEANINGS.items():
            assert re.search(rf"<dt>{state}</dt><dd>{re.escape(meaning)}", shown)
        assert f'title="{MEANINGS["failed"]}">failed<' in shown
        shown, files = listed("state=attention")
        assert files == ["hibernating", "failed"]
        assert '<option value="attention" selected>needs a look</option>' in shown
        for query in ("state=failed,in+progress", "state=failed&state=in+progress&state="):
            shown, files = listed(query)
            assert files == ["started", "failed"]
            # The next search keeps them.
            assert '<option value="failed,in progress" selected>failed, in progress</option>' in shown
        assert httpx.get(f"{server.url}/?{'&'.join(['state=failed'] * 21)}").status_code == 422


def test_no_page_is_wider_than_the_screen_whatever_the_names_are(store: UploadStore, page: Page) -> None:
    keep_odd_ones(store, datetime.now(UTC))
    of_task = task(1, dag_id="loyalty_programme_nightly", task_id="answer_unknown_word")
    rows = {"rows": 1_000_000, "of_rows": 100_000_000}
    kept = record(path="https://x.example.com/contacts-of-the-loyalty-programme.csv", **rows, task=of_task)
    store.create(kept)
    app = create_app(store)
    app.dependency_overrides[access.may_see] = lambda: lambda upload: True
    with AppServer(app) as server:
        for path in ("", *store.keys()):
            page.goto(f"{server.url}/{path}")
            expect(page.locator(".id").first).to_be_visible()
            for width in (1280, 1160, 390):
                page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        page.goto(server.url)
        # A phone shows each upload as a card, with the names of its fields.
        expect(page.get_by_role("columnheader")).to_have_count(0)
        assert page.locator("td.number").first.evaluate("e => getComputedStyle(e, '::before').content") == '"Rows"'
        assert page.locator(".chart svg").get_attribute("width") == "360"


def test_all_can_be_done_by_keyboard(store: UploadStore, page: Page) -> None:
    of_task = task(1, dag_id="loyalty_programme_nightly", task_id="answer_unknown_word")
    kept = record(path="https://x.example.com/contacts-of-the-loyalty-programme.csv", rows=1_000_000, task=of_task)
    store.create(kept)
    app = create_app(store)
    app.dependency_overrides[access.may_see] = lambda: lambda upload: True
    # So narrow that the table has to be scrolled.
    page.set_viewport_size({"width": 1160, "height": 800})
    focus = "(e => e.getAttribute('aria-label') || e.innerText.split('\\n')[0] || e.name)(document.activeElement)"
    outline = "getComputedStyle(document.activeElement).outlineStyle"

    def tabs(many: int) -> list[str]:
        found = []
        for _ in range(many):
            page.keyboard.press("Tab")
            assert page.evaluate(outline) == "solid"
            found.append(page.evaluate(focus))
        return found

    with AppServer(app) as server:
        page.goto(server.url)
        expect(page.locator(".chart svg")).to_be_visible()
        assert tabs(3) == ["Skip to the list", "1 waiting", "any"]
        page.keyboard.type("waiting")
        assert tabs(4)[1:] == ["listid", "dag_id", "text"]
        page.keyboard.type("contacts")
        page.keyboard.press("Enter")
        page.wait_for_url("**/?state=waiting&hours=&listid=&dag_id=&text=contacts")
        assert tabs(1) == ["Skip to the list"]
        page.keyboard.press("Enter")
        assert tabs(3) == ["Uploads", f"{of_task.dag_id}.{of_task.task_id}", kept.key]
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Upload without a requestid")).to_be_visible()


def test_an_upload_is_shown_with_its_connection_and_with_no_requestid_if_there_is_none(store: UploadStore) -> None:
    key = f"20260101T000000-{1:040x}"
    store.create(Record(key=key, path="https://x.example.com/y.csv", smartech_conn_id="smartech_retail", tracked=True))
    app = create_app(store)
    app.dependency_overrides[access.may_see] = lambda: lambda upload: True
    with AppServer(app) as server:
        listed, shown = (httpx.get(f"{server.url}/{path}").text for path in ("", key))
    assert '<div class="quiet">smartech_retail</div></td>' in listed
    assert f'<span class="quiet">none</span> <a class="id quiet" href="{key}">{key}</a></td>' in listed
    assert "<h1>Upload without a requestid</h1>" in shown
    assert "It is being sent, or its task died before an answer came. The task&#39;s retry checks" in shown
    for text in ("smartech_retail", key):
        assert f">{text}</dd>" in shown


def test_an_upload_of_what_changed_is_shown_with_the_rows_of_its_query(store: UploadStore, page: Page) -> None:
    kept = record(rows=10_000, of_rows=1_000_000)
    store.create(kept)
    app = create_app(store)
    app.dependency_overrides[access.may_see] = lambda: lambda upload: True
    with AppServer(app) as server:
        page.goto(f"{server.url}/")
        expect(page.locator("td.number").first).to_have_text("10,000 of 1,000,000")
        page.goto(f"{server.url}/{kept.key}")
        expect(page.locator("dl")).to_contain_text("10,000 of 1,000,000 in the query")


def test_the_page_of_an_upload_that_was_not_accepted_says_why(store: UploadStore) -> None:
    key = f"20260101T000000-{0:040x}"
    store.create(Record(key=key, path="https://x.example.com/y.csv", smartech_conn_id="c", tracked=True))
    store.answered(key, Answer.failed("not accepted", "Smartech refused the upload (<b>HTTP 401</b>)", []))
    app = create_app(store)
    app.dependency_overrides[access.may_see] = lambda: lambda upload: True
    with AppServer(app) as server:
        shown = httpx.get(f"{server.url}/{key}").text
    assert re.search(r"<dt>Reason</dt><dd[^>]*>Smartech refused the upload \(&lt;b&gt;HTTP 401&lt;/b&gt;\)</dd>", shown)


def test_an_empty_store_says_that_uploads_will_show(store: UploadStore) -> None:
    app = create_app(store)
    app.dependency_overrides[access.may_see] = lambda: lambda upload: True
    with AppServer(app) as server:
        assert "No uploads yet." in httpx.get(server.url).text
        assert httpx.get(f"{server.url}/chart.svg").text.count("<rect") == 0
