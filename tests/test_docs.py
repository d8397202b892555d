"""The documentation: its code runs, its commands and settings exist, and what it quotes is what the code says."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from airflow.sdk import DAG, BaseOperator

import airflow_provider_smartech
from airflow_provider_smartech import __version__, errors
from airflow_provider_smartech.config.options import OPTIONS
from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.sandbox import SandboxServer
from airflow_provider_smartech.uploads.overview import ADVICE, MEANINGS, NEED_ATTENTION
from airflow_provider_smartech.uploads.s3_folder import S3Folder
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Answer, PingBack
from docs import conf, generate
from tests.support.commands import called
from tests.support.policed_s3 import PolicedS3
from tests.support.records import record
from tests.support.records import task as task_try
from tests.support.servers import ReceiverServer

ROOT = Path(__file__).parents[1]
PACKAGE = Path(airflow_provider_smartech.__file__).parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
FIRST_UPLOAD = DOCS / "how-to" / "first-upload.md"
STATES = DOCS / "reference" / "states.md"
TEST_YOUR_DAG = DOCS / "how-to" / "test-your-dag.md"
TROUBLESHOOTING = DOCS / "how-to" / "troubleshoot.md"


def blocks(language: str) -> Iterator[str]:
    """The blocks of code in one language, indented ones included, without their indentation."""
    return (block for page in PAGES for block in blocks_of(page, language))


def blocks_of(page: Path, language: str) -> Iterator[str]:
    for found in re.finditer(rf"^( *)```{language}\n(.*?)^ *```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        yield re.sub(rf"^{found[1]}", "", found[2], flags=re.MULTILINE)


def dags_and_tasks() -> list[object]:
    """The blocks of Python that a DAG file could have."""
    found = [block for block in blocks("python") if "def test_" not in block]
    return [pytest.param(block, id=f"python{number}") for number, block in enumerate(found)]


@pytest.mark.parametrize("code", dags_and_tasks())
def test_the_python_code_runs(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(compile(code, "documentation", "exec"), names)
    dags = [value for value in names.values() if isinstance(value, DAG)]
    tasks = [value for value in names.values() if hasattr(value, "task_id")]
    printed = capsys.readouterr().out
    assert dags or tasks or "http://127.0.0.1" in printed
    for task in tasks:
        task.dag.validate()  # type: ignore[attr-defined]


@pytest.mark.once
def test_the_test_that_is_shown_passes(tmp_path: Path) -> None:
    dag_file, test_file = blocks_of(TEST_YOUR_DAG, "python")
    (shown,) = blocks_of(TEST_YOUR_DAG, "text")
    for name, text in (("dags/contacts_to_smartech.py", dag_file), ("tests/test_contacts_to_smartech.py", test_file)):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(text, "utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment["PATH"] = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["sh", "-ec", shown], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_there_is_code_to_run() -> None:
    assert len(list(blocks("python"))) >= 4
    assert len(list(blocks("sh"))) >= 6


def commands() -> list[str]:
    """The shell's commands, one a line."""
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [line.partition("  #")[0].strip() for line in lines]


def airflow_commands(group: str) -> list[str]:
    """Each once, although several pages may show it."""
    return list(dict.fromkeys(line for line in commands() if line.startswith(f"airflow {group} ")))


def test_the_commands_of_this_package_run(sandbox: SandboxServer, receiver: ReceiverServer, s3: Any) -> None:
    s3.create_bucket(Bucket="my-company-staging")
    shown = airflow_commands("smartech")
    for command in shown:
        done = called(*shlex.split(command)[2:])
        # The requestid and the sync of the examples are nobody's.
        unknown = any(text in done.stderr for text in ("No upload with requestid", "No sync "))
        assert done.status == 0 or unknown, done.stdout + done.stderr
    assert len(shown) >= 8


@pytest.mark.once
def test_the_commands_that_add_connections_run(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment |= {
        "AIRFLOW_HOME": str(tmp_path),
        "API_KEY": "k3y",
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    shown = airflow_commands("connections")

    def run(command: str) -> None:
        done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    run("airflow db migrate")
    for command in shown:
        # Another page may add the same connection.
        with closing(sqlite3.connect(tmp_path / "airflow.db")) as database, database:
            database.execute("DELETE FROM connection")
        run(command)
    assert len(shown) >= 3


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named_ones = {shlex.split(line)[1] for line in commands() if line.startswith("make ")}
    assert named_ones <= targets
    assert len(named_ones) >= 6


@pytest.mark.parametrize("module", ["receiver", "sandbox"])
def test_the_modules_that_are_run_take_the_options_that_are_shown(module: str) -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert f"python -m airflow_provider_smartech.{module}" in text
    shown = re.findall(rf"airflow_provider_smartech\.{module}((?: --[\w-]+ \S+)*)", text)
    options = {word for words in shown for word in words.split() if word.startswith("--")}
    asked = [sys.executable, "-m", f"airflow_provider_smartech.{module}", "--help"]
    help_text = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert all(option in help_text for option in options)


def test_the_settings_that_are_shown_exist_and_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    (ini,) = blocks("ini")
    parser = configparser.ConfigParser()
    parser.read_string(ini)
    assert set(parser["smartech"]) <= set(OPTIONS)
    for name, value in parser["smartech"].items():
        monkeypatch.setenv(f"AIRFLOW__SMARTECH__{name.upper()}", value)
    assert Settings.load().upload_store == parser["smartech"]["upload_store"]


def policies() -> list[dict[str, Any]]:
    return [json.loads(block) for block in blocks("json")]


def test_the_json_that_is_shown_is_json() -> None:
    actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    assert [policy["Statement"][0]["Action"] for policy in policies()] == [actions, "s3:GetObject"]


def test_the_policy_that_is_shown_is_enough_for_a_store_and_for_nothing_else(s3: Any) -> None:
    s3.create_bucket(Bucket="my-bucket")
    with PolicedS3(policies()[0]["Statement"]) as policed:
        keys = {"aws_access_key_id": "role", "aws_secret_access_key": "role-secret", "region_name": "us-east-1"}
        role = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{policed.port}", **keys)
        store = UploadStore(S3Folder("s3://my-bucket/smartech", lambda _: role))
        upload = record(task=task_try())
        store.create(upload)
        assert not store.has("20260101T000000-" + "a" * 40)
        store.answered(upload.key, Answer(outcome="accepted", requestid="r1"))
        store.add_pingback(upload.key, PingBack(payload="done"))
        store.sweep(store.arrivals())
        assert [found.key for found in store.all_with("r1")] == list(store.keys()) == [upload.key]
        assert store.purge(datetime.now(UTC) + timedelta(days=1)) == 1
        assert policed.denied == []
        with pytest.raises(UploadStoreError, match="AccessDenied"):
            UploadStore(S3Folder("s3://my-bucket/other", lambda _: role)).check()
        actions = {action for _, action in policed.used}
    assert actions == {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The files that a page links or shows, each with the heading in it that is linked, or an empty text."""
    found = re.findall(r'(?:\]\(|src="|srcset=")([^)#:"\s]*)(?:#([^)":\s]+))?[)"]', page.read_text("utf-8"))
    return ((page.parent / file if file else page, heading) for file, heading in found)


def headings(page: Path) -> set[str]:
    """A page's headings as they are in links to them."""
    found = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_everything_that_is_linked_or_shown_is_there(page: Path) -> None:
    for file, heading in links(page):
        assert file.exists(), file
        assert not heading or heading in headings(file), f"{file.name}#{heading}"


def test_the_states_are_explained_as_on_the_page_and_in_the_help() -> None:
    section = STATES.read_text("utf-8")
    told = re.findall(r"^\| `([a-z ]+)` \| (.+?) \| (.*?) ?\|$", section, re.MULTILINE)
    expected = [(state, meaning, ADVICE.get(state, "")) for state, meaning in MEANINGS.items()]
    assert [(state, meaning, advice.replace("`", "")) for state, meaning, advice in told] == expected
    attention = re.search(r"`--state attention` are all that need a look: (.*?)\.", " ".join(section.split()))
    assert attention
    assert re.findall(r"`([a-z ]+)`", attention[1]) == [*NEED_ATTENTION]


def test_every_message_under_troubleshooting_is_one_that_the_code_has() -> None:
    messages = re.findall(r"^\| `([^`/]+)` \|", TROUBLESHOOTING.read_text("utf-8"), re.MULTILINE)
    assert len(messages) >= 10
    assert not_in_the_code(messages) == []


def not_in_the_code(messages: Iterable[str]) -> list[str]:
    source = "".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    return [message for message in messages if message not in source]


def test_every_message_of_the_first_upload_is_one_that_the_code_has() -> None:
    messages = re.findall(r"`((?:Smartech|Waiting|no) [^`]+)`", FIRST_UPLOAD.read_text("utf-8"))
    assert len(messages) >= 3
    assert not_in_the_code(messages) == []


def test_the_pingbacks_of_the_first_upload_mean_what_its_table_says() -> None:
    said = re.findall(r"^\| `(\{.*\})` \| `(.+?)` \|", FIRST_UPLOAD.read_text("utf-8"), re.MULTILINE)
    assert {state for _, state in said} == {"completed", "unrecognised", "in progress", "failed"}
    statuses = Settings.load().statuses
    for payload, state in said:
        assert statuses.verdict(json.loads(payload), requestid="…") == state, payload


def test_the_first_upload_names_the_default_words_and_more() -> None:
    (words,) = re.findall(r"`completed_words = (.+?)`", FIRST_UPLOAD.read_text("utf-8"))
    assert words == f"{OPTIONS['completed_words']['default']}, imported"


def test_the_reference_is_made_from_the_code_as_it_is() -> None:
    for name, text in generate.pages().items():
        assert (generate.FOLDER / f"{name}.md").read_text("utf-8") == text, "run `make reference`"


@pytest.mark.parametrize("operator", generate.public_operators())
def test_every_parameter_that_a_docstring_describes_is_there(operator: type[BaseOperator]) -> None:
    taken = {parameter.name for parameter, _ in generate.parameters(operator)}
    assert generate.descriptions(operator).keys() - taken <= {"timeout"}


def test_the_reference_names_what_is_public() -> None:
    text = "".join(generate.pages().values())
    names = [operator.__name__ for operator in generate.public_operators()]
    assert set(names) >= {"SmartechBulkUploadOperator", "S3ToSmartechOperator", "SqlToSmartechOperator"}
    assert set(names) >= {"SmartechBulkUploadSensor"}
    assert [name for name in [*errors.__all__, *OPTIONS] if f"| `{name}` |" not in text] == []


def test_the_map_of_the_code_names_every_wing_and_module_and_no_other() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## A map of the code")[2]
    listed = set()
    for wings, modules in re.findall(r"^\| \d+ \| (.*?) \| (.*) \|$", table, re.MULTILINE):
        for wing in re.findall(r"`(\w+/?)`", wings):
            names = re.findall(r"`(\w+)`", modules) if wing.endswith("/") else [""]
            listed |= {f"{wing}{name}" for name in names}
    modules = {str(path.relative_to(PACKAGE).with_suffix("")) for path in PACKAGE.rglob("*.py")}
    assert listed == {name for name in modules if not name.rpartition("/")[2].startswith("_")}


def test_the_floors_of_the_map_are_the_layers_that_the_linter_knows() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## A map of the code")[2]
    floors: dict[int, set[str]] = {}
    for floor, wings in re.findall(r"^\| (\d+) \| (.*?) \|", table, re.MULTILINE):
        floors.setdefault(int(floor), set()).update(re.findall(r"`(\w+)/?`", wings))
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = [set(layer.split(" | ")) - {"__main__"} for layer in linter["contracts"][0]["layers"]]
    assert [floors[floor] for floor in sorted(floors)] == layers


def test_the_changes_name_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_pages_name_this_version() -> None:
    text = "".join(page.read_text("utf-8") for page in DOCS.rglob("*.md"))
    named = re.findall(r"airflow[-_]provider[-_]smartech(?:\[changes\])?(?:==|-)(\d[\w.]*)(?=-py3|\b)", text)
    assert len(named) >= 4
    assert set(named) == {__version__}


def test_the_readme_is_a_front_page() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_every_page_is_in_the_site_s_contents() -> None:
    index = (DOCS / "index.md").read_text("utf-8")
    listed = [
        line for block in re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL) for line in block.splitlines()
    ]
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.glob("*/*.md")}
    assert pages == {line for line in listed if "/" in line}


def test_links_that_leave_the_site_lead_to_the_repository_and_others_stay() -> None:
    page = ["[a](../../example_dags) [b](../../CONTRIBUTING.md#releases) [c](../how-to/watch.md#x) [d](retries.md)"]
    conf.link_to_repository(None, "explanation/completion", page)
    main = f"{conf.REPOSITORY}/blob/main"
    assert page == [
        f"[a]({main}/example_dags) [b]({main}/CONTRIBUTING.md#releases) [c](../how-to/watch.md#x) [d](retries.md)"
    ]
