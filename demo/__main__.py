"""``make demo``: hosts a CSV, runs the example DAG on a real Airflow against the sandbox, and shows what came of it."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

from airflow_provider_smartech.sandbox import Fault, SandboxServer
from demo.contacts import write_contacts
from demo.files import FileServer
from demo.standalone import Airflow, DemoError

CONTACTS = 12_000
LIST = 33
DAG = "smartech_hosted_csv"
EXAMPLES = Path(__file__).resolve().parent.parent / "example_dags"

_began = time.monotonic()


def main() -> int:
    """Run the demo and return the exit status."""
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    keep = parser.parse_args().keep
    # SIGINT as well: where a script starts this in the background, it is ignored at first.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="smartech-demo-"))
    try:
        with ExitStack() as stack:
            _run(stack, folder, keep)
    except DemoError as error:
        say(f"FAILED: {error}; what was written is kept in {folder}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        shutil.rmtree(folder)
        return 130
    shutil.rmtree(folder)
    return 0


def say(text: str) -> None:
    """Tell the reader what happens."""
    print(f"[{time.monotonic() - _began:6.1f} s] {text}", flush=True)


def _run(stack: ExitStack, folder: Path, keep: bool) -> None:
    write_contacts(folder / "contacts.csv", CONTACTS)
    files = stack.enter_context(FileServer(folder))
    say(f"serving {CONTACTS:,} contacts at {files.url}/contacts.csv")
    # Late, so that the waiting can be seen.
    sandbox = stack.enter_context(SandboxServer(faults={Fault.PINGBACK_LATE}, late_seconds=8))
    say(f"Smartech sandbox: {sandbox.url}/")
    connection = {"conn_type": "smartech", "password": sandbox.api_key, "host": sandbox.api_url}
    airflow = Airflow(folder / "airflow", EXAMPLES, {"AIRFLOW_CONN_SMARTECH_DEFAULT": json.dumps(connection)})
    stack.callback(_stop, airflow)
    say(f"starting airflow standalone at {airflow.url} (the first start takes up to a minute)")
    airflow.start((DAG,), say)
    _show_run(airflow, sandbox, f"{files.url}/contacts.csv")
    if keep:
        user, password = airflow.login()
        say(f"still running: Airflow {airflow.url} (user {user}, password {password}), sandbox {sandbox.url}/")
        say(f"Ctrl-C stops everything and removes {folder}")
        with suppress(KeyboardInterrupt):
            signal.pause()


def _show_run(airflow: Airflow, sandbox: SandboxServer, path: str) -> None:
    run_id = airflow.trigger(DAG, {"path": path, "listid": LIST})
    say(f"DAG {DAG} is running")
    shown: dict[str, str] = {}

    def ended() -> bool:
        for task in airflow.tasks(DAG, run_id):
            if task["state"] and shown.get(task["task_id"]) != task["state"]:
                shown[task["task_id"]] = task["state"]
                say(f"  {task['task_id']}: {task['state']}")
        return airflow.run_state(DAG, run_id) in ("success", "failed")

    airflow.wait(ended, f"DAG {DAG} ends")
    state = airflow.run_state(DAG, run_id)
    if state != "success":
        raise DemoError(f"the DAG run ended as {state}; see {airflow.home}/logs")
    summary = airflow.xcom(DAG, run_id, "wait")
    print()
    print(f"requestid   {summary['requestid']}")
    print(f"state       {summary['state']} (DAG run: {state})")
    for task in airflow.tasks(DAG, run_id):
        print(f"task        {task['task_id']}: {task['state']} in {task['duration']:.1f} s")
    print(f"submitted   {summary['submitted_at']}")
    print(f"completed   {summary['completed_at']}, {summary['seconds']:.1f} s later, by Smartech's ping-back")
    print(f"counts      {summary['counts']}")
    print(f"contacts    {sandbox.state.count():,} in the sandbox, {sandbox.state.count(LIST):,} on list {LIST}")
    print(flush=True)
    if sandbox.state.count() != CONTACTS:
        raise DemoError(f"{CONTACTS:,} contacts were expected")


def _stop(airflow: Airflow) -> None:
    # A second Ctrl-C must not leave half of it running.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say("stopping Airflow …")
    airflow.stop()
    say("everything is stopped")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
