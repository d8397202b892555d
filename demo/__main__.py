"""``make demo``: runs the example DAGs on a real Airflow against the sandbox, and shows the results."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from airflow_provider_smartech.sandbox import Fault, SandboxServer
from tests.support.airflow_api import DemoError
from tests.support.contacts import agreed_contacts, change_warehouse, write_contacts, write_warehouse
from tests.support.file_server import FileServer
from tests.support.standalone_airflow import Airflow

HOSTED_CSV, HOSTED_LIST, CONTACTS = "smartech_hosted_csv", 33, 12_000
WAREHOUSE_SYNC, WAREHOUSE_LIST, WAREHOUSE = "smartech_warehouse_sync", 34, 120_000
CHANGED, NEW, REMOVED = 1_000, 300, 200
LATE_SECONDS = 8
BUCKET = "my-company-staging"
AWS_KEYS = {"aws_access_key_id": "demo", "aws_secret_access_key": "demo-secret", "region_name": "us-east-1"}
COUNTS = ("rows", "sent", "new", "changed", "unchanged", "removed")
EXAMPLES = Path(__file__).resolve().parent.parent / "example_dags"

_began = time.monotonic()


def main() -> int:
    """Run the demo and return the exit status."""
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    keep = parser.parse_args().keep
    # SIGINT too: if a script starts this in the background, SIGINT is ignored at first.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="smartech-demo-"))
    try:
        with ExitStack() as stack:
            _run(stack, folder, keep)
    except DemoError as error:
        say(f"FAILED: {error}; its files are kept in {folder}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        shutil.rmtree(folder)
        return 130
    shutil.rmtree(folder)
    return 0


def say(text: str) -> None:
    """Print a progress message."""
    print(f"[{time.monotonic() - _began:6.1f} s] {text}", flush=True)


def _run(stack: ExitStack, folder: Path, keep: bool) -> None:
    write_contacts(folder / "contacts.csv", CONTACTS)
    files = stack.enter_context(FileServer(folder))
    say(f"serving {CONTACTS:,} contacts at {files.url}/contacts.csv")
    warehouse = folder / "warehouse.db"
    write_warehouse(warehouse, WAREHOUSE)
    agreed = len(agreed_contacts(warehouse))
    say(f"made a SQLite warehouse with {WAREHOUSE:,} contacts; {agreed:,} agreed and have an address")
    s3 = _start_s3(stack)
    say(f"stand-in for S3: {s3}")
    # Late, so that the wait is visible.
    sandbox = stack.enter_context(SandboxServer(faults={Fault.PINGBACK_LATE}, late_seconds=LATE_SECONDS))
    say(f"Smartech sandbox: {sandbox.url}/")
    # The nightly DAG must run when it is triggered, not for last night.
    settings = {**_connections(sandbox, warehouse, s3), "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"}
    airflow = Airflow(folder / "airflow", EXAMPLES, settings)
    stack.callback(_stop, airflow)
    say(f"starting airflow standalone at {airflow.url} (the first start takes up to a minute)")
    airflow.start((HOSTED_CSV, WAREHOUSE_SYNC), say)
    _show_hosted_csv(airflow, sandbox, f"{files.url}/contacts.csv")
    _show_two_nights(airflow, sandbox, warehouse)
    if keep:
        user, password = airflow.login()
        say(f"still running: Airflow {airflow.url} (user {user}, password {password}), sandbox {sandbox.url}/")
        say(f"Ctrl-C stops everything and removes {folder}")
        with suppress(KeyboardInterrupt):
            signal.pause()


def _start_s3(stack: ExitStack) -> str:
    # Its request log would be mixed with the messages printed here.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    stack.callback(server.stop)
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=url, **AWS_KEYS).create_bucket(Bucket=BUCKET)
    return url


def _connections(sandbox: SandboxServer, warehouse: Path, s3: str) -> dict[str, str]:
    extra = {"endpoint_url": s3, "region_name": AWS_KEYS["region_name"]}
    keys = {"login": AWS_KEYS["aws_access_key_id"], "password": AWS_KEYS["aws_secret_access_key"]}
    connections = {
        "SMARTECH_DEFAULT": {"conn_type": "smartech", "password": sandbox.api_key, "host": sandbox.api_url},
        "WAREHOUSE": {"conn_type": "sqlite", "host": str(warehouse)},
        "AWS_DEFAULT": {"conn_type": "aws", **keys, "extra": extra},
    }
    return {f"AIRFLOW_CONN_{name}": json.dumps(connection) for name, connection in connections.items()}


def _show_hosted_csv(airflow: Airflow, sandbox: SandboxServer, path: str) -> None:
    run_id = _follow(airflow, HOSTED_CSV, {"path": path, "listid": HOSTED_LIST})
    summary = airflow.xcom(HOSTED_CSV, run_id, "wait")
    print()
    print(f"requestid   {summary['requestid']}")
    print(f"state       {summary['state']} (DAG run: success)")
    _print_tasks(airflow, HOSTED_CSV, run_id)
    print(f"submitted   {summary['submitted_at']}")
    print(f"completed   {summary['completed_at']}, {summary['seconds']:.1f} s later, by Smartech's ping-back")
    print(f"counts      {summary['counts']}")
    _print_contacts(sandbox, HOSTED_LIST, CONTACTS)


def _show_two_nights(airflow: Airflow, sandbox: SandboxServer, warehouse: Path) -> None:
    before = agreed_contacts(warehouse)
    first = _show_warehouse_sync(airflow, sandbox, before)
    all_new = {"rows": len(before), "sent": len(before), "new": len(before), "changed": 0, "unchanged": 0, "removed": 0}
    _check_counts(first, all_new)
    change_warehouse(warehouse, changed=CHANGED, new=NEW, removed=REMOVED)
    say(f"the next day: {CHANGED:,} contacts of the warehouse changed, {NEW:,} are new, {REMOVED:,} no longer agree")
    # Contacts are never deleted from Smartech.
    second = _show_warehouse_sync(airflow, sandbox, before | agreed_contacts(warehouse))
    unchanged = len(before) - CHANGED - REMOVED
    expected = {"rows": unchanged + CHANGED + NEW, "sent": CHANGED + NEW}
    _check_counts(second, expected | {"new": NEW, "changed": CHANGED, "unchanged": unchanged, "removed": REMOVED})
    print(f"{'':12}{'first night':>14}{'second night':>14}")
    for name in (*COUNTS, "bytes", "seconds"):
        print(f"{name:12}{first[name]:14,}{second[name]:14,}")
    print(f"            ({LATE_SECONDS} of the seconds are the sandbox's: its ping-backs are late)")
    print(flush=True)


def _show_warehouse_sync(
    airflow: Airflow, sandbox: SandboxServer, expected: dict[str, dict[str, str]]
) -> dict[str, Any]:
    """Run the sync, and return what its task returned, with its duration."""
    loaded = _rows_loaded(sandbox)
    run_id = _follow(airflow, WAREHOUSE_SYNC, {})
    summary = airflow.xcom(WAREHOUSE_SYNC, run_id, "sync")
    print()
    print(f"requestids  {', '.join(summary['requestids'])}")
    print("state       completed (DAG run: success)")
    _print_tasks(airflow, WAREHOUSE_SYNC, run_id)
    print(f"sent        {summary['sent']:,} of {summary['rows']:,} rows, {summary['bytes'] / 1e6:.1f} MB")
    print(f"left out    {summary['missing_keys']:,} rows without an address")
    _print_contacts(sandbox, WAREHOUSE_LIST, len(expected))
    loaded = _rows_loaded(sandbox) - loaded
    if loaded != summary["sent"]:
        raise DemoError(f"the sandbox loaded {loaded:,} rows, but the task sent {summary['sent']:,}")
    _check_contacts(sandbox, expected)
    [task] = airflow.tasks(WAREHOUSE_SYNC, run_id)
    return {**summary, "seconds": round(task["duration"], 1)}


def _rows_loaded(sandbox: SandboxServer) -> int:
    return sum(upload["accepted"] for upload in sandbox.state.uploads())


def _check_counts(summary: dict[str, Any], expected: dict[str, int]) -> None:
    found = {name: summary[name] for name in COUNTS}
    if found != expected:
        raise DemoError(f"the sync counted {found}, but it should be {expected}")


def _check_contacts(sandbox: SandboxServer, expected: dict[str, dict[str, str]]) -> None:
    """Check that the sandbox has these contacts with these attributes; it may have more, from another list."""
    found = {contact["EMAIL"]: contact for contact in sandbox.state.contacts(limit=sandbox.state.count())}
    wrong = sum(1 for key, contact in expected.items() if not contact.items() <= found.get(key, {}).items())
    if wrong:
        raise DemoError(f"{wrong:,} contacts in the sandbox are not as in the warehouse")


def _follow(airflow: Airflow, dag_id: str, conf: dict[str, Any]) -> str:
    """Run a DAG until it succeeds, print each change, and return the run's id."""
    run_id = airflow.trigger(dag_id, conf)
    say(f"DAG {dag_id} is running")
    shown: dict[str, str] = {}

    def ended() -> bool:
        for task in airflow.tasks(dag_id, run_id):
            if task["state"] and shown.get(task["task_id"]) != task["state"]:
                shown[task["task_id"]] = task["state"]
                say(f"  {task['task_id']}: {task['state']}")
        return airflow.run_state(dag_id, run_id) in ("success", "failed")

    airflow.wait(ended, f"DAG {dag_id} ends")
    state = airflow.run_state(dag_id, run_id)
    if state != "success":
        raise DemoError(f"the run of {dag_id} ended as {state}; see {airflow.home}/logs")
    return run_id


def _print_tasks(airflow: Airflow, dag_id: str, run_id: str) -> None:
    for task in airflow.tasks(dag_id, run_id):
        print(f"task        {task['task_id']}: {task['state']} in {task['duration']:.1f} s")


def _print_contacts(sandbox: SandboxServer, listid: int, expected: int) -> None:
    print(f"contacts    {sandbox.state.count(listid):,} on list {listid} of the sandbox")
    print(flush=True)
    if sandbox.state.count(listid) != expected:
        raise DemoError(f"{expected:,} contacts were expected on list {listid}")


def _stop(airflow: Airflow) -> None:
    # A second Ctrl-C must not leave processes running.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say("stopping Airflow …")
    airflow.stop()
    say("everything is stopped")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
