"""The real parts of a history, in one process: sandboxes, hosted files, S3, a warehouse, the receiver, the store."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import requests
import time_machine
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout, TaskDeferred
from airflow.sdk import BaseOperator
from airflow.sdk.io import attach
from botocore.client import BaseClient
from botocore.loaders import create_loader
from moto.server import ThreadedMotoServer

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.config.upload_store import configured_upload_store
from airflow_provider_smartech.errors import UploadUnknown
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.redaction import without_queries
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.sandbox.loader import Load, load
from airflow_provider_smartech.sandbox.state import State as SandboxState
from airflow_provider_smartech.triggers import SmartechBulkUploadTrigger
from airflow_provider_smartech.uploads.upload import State, Upload, key_of
from tests.histories.files import Crash, FlakyFiles
from tests.histories.hosted import HostedByToken
from tests.histories.pingbacks import message
from tests.support.servers import ReceiverServer
from tests.support.tasks import FakeTaskInstance, context, rebuilt, run_trigger

ROWS = 3
VERSIONS = ("v1", "v2")
# Data centre of each account; the third one is another account in the first one's.
IDCS = ("us", "in", "us")
BUCKET = "histories"
_POST, _CALL_S3 = requests.Session.post, BaseClient._make_api_call
SETTINGS = {
    "AIRFLOW__SMARTECH__UPLOAD_STORE": "memory://flaky@store",
    "AIRFLOW_CONN_FLAKY": "generic://",
    "AIRFLOW__SMARTECH__POLL_INTERVAL": "0.002",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "0",
    "NO_PROXY": "127.0.0.1",
}


@dataclass(frozen=True)
class Taken:
    """An upload that a sandbox took."""

    account: int
    requestid: str
    path: str
    key: str
    rows: int
    loaded: bool


@dataclass(frozen=True)
class Trouble:
    """What happens during a try.

    The process dies at the n-th call of the ``store`` or of ``s3``, right after it has ``written`` a file whose name
    has this ``part``, before the ``request`` or after the ``answer``. Or the store is away (``refusal``) from its n-th
    call on, several ``times``. Or just before that call Smartech calls back (``pingback``): its last upload is done.
    """

    what: str
    number: int = 1
    times: int = 0
    part: str = ""


@dataclass
class Try:
    """What became of a try, or of a part of it: ``green``, ``red``, ``failed`` (may be tried again) or ``deferred``."""

    end: str
    log: str
    value: Any = None
    error: BaseException | None = None
    trigger: Any = None
    texts: list[str] = field(default_factory=list)


class World:
    """All of it; a context manager. ``begin`` forgets what the history before has left."""

    def __enter__(self) -> World:
        self._stack = ExitStack()
        self._numbers: list[Iterator[int]] = []
        enter = self._stack.enter_context
        # Airflow keeps what was attached first, so another world of this process has the same files.
        files = attach("memory", conn_id="flaky", fs=FlakyFiles()).fs
        assert isinstance(files, FlakyFiles)
        self.files = files
        enter(patch.dict(os.environ, SETTINGS))
        # The product's own waits between attempts, shortened.
        enter(patch("airflow_provider_smartech.tasks.sender.STORE_WAIT_SECONDS", 0.001))
        enter(patch.object(SmartechHook, "retry_wait", 0.001))
        enter(patch.object(requests.Session, "post", lambda *given, **named: self._post(*given, **named)))
        enter(patch.object(BaseClient, "_make_api_call", lambda *given: self._call_s3(*given)))
        self._account, self.pinged_meanwhile = 0, list[Taken]()
        # These take long, and a history needs none of them.
        enter(patch("airflow.sdk.log.mask_secret", lambda *given: None))
        enter(patch.object(AwsGenericHook, "_find_operator_class_name", lambda *given: None))
        enter(patch("botocore.session.create_loader", cache(create_loader)))
        self._dead, self._s3_calls = False, 0
        self._trouble: Trouble | None = None
        self.store = configured_upload_store()
        self._settings = Settings.load()
        folder = Path(enter(tempfile.TemporaryDirectory(prefix="smartech-histories-")))
        self.contacts = {version: [f"{version}-{n}@contacts.example" for n in range(ROWS)] for version in VERSIONS}
        self._warehouse = folder / "warehouse.db"
        self._fill_warehouse(self._warehouse)
        # What Smartech takes while ``holds`` is set, it loads only when ``held`` is called, by the path of the file.
        self.holds, self.held = False, dict[str, Callable[[], object]]()
        enter(patch("airflow_provider_smartech.sandbox.server.load", self._load))
        self.hosted = enter(HostedByToken(self.contacts)).url
        self.keys = [f"4p1k3y-of-account-{n}" for n in range(len(IDCS))]
        self.sandboxes = [
            enter(SandboxServer(api_key=key, new_requestid=partial(self._new_requestid, n)))
            for n, key in enumerate(self.keys)
        ]
        self.receiver = enter(ReceiverServer(self.store))
        os.environ["AIRFLOW__SMARTECH__CALLBACK_BASE_URL"] = self.receiver.url
        moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        moto.start()
        self._stack.callback(moto.stop)
        host, port = moto.get_host_and_port()
        extra = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
        aws = {"conn_type": "aws", "login": "test", "password": "test-secret", "extra": extra}
        os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(aws)
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test-secret"}
        self.s3 = boto3.client("s3", **extra, **keys)
        self.s3.create_bucket(Bucket=BUCKET)
        for version, emails in self.contacts.items():
            for number, email in enumerate(emails):
                # Tasks take these as Redshift or Spark have left them, and never change them.
                key = f"unloaded/{version}/part-{number}.csv"
                self.s3.put_object(Bucket=BUCKET, Key=key, Body=f"EMAIL\n{email}\n".encode())
        for n, (idc, sandbox) in enumerate(zip(IDCS, self.sandboxes, strict=True)):
            connection = {
                "conn_type": "smartech",
                "password": self.keys[n],
                "host": sandbox.api_url,
                "extra": {"idc": idc},
            }
            os.environ[f"AIRFLOW_CONN_ACCOUNT_{n}"] = json.dumps(connection)
        self._logged = _Lines()
        logging.getLogger().addHandler(self._logged)
        self._stack.callback(logging.getLogger().removeHandler, self._logged)
        # The stand-in of S3 writes whole links into its log.
        for name, level in (("airflow_provider_smartech", logging.INFO), ("werkzeug", logging.ERROR)):
            self._stack.callback(logging.getLogger(name).setLevel, logging.getLogger(name).level)
            logging.getLogger(name).setLevel(level)
        self._histories = count()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def begin(self) -> None:
        """Begin a new history."""
        self.prefix = f"history-{next(self._histories)}"
        self.files.clear()
        # The accounts issue the same requestids.
        self._numbers = [count(1) for _ in IDCS]
        for sandbox in self.sandboxes:
            sandbox.state, old = SandboxState(), sandbox.state
            old.close()
            sandbox.forget()
        self._taken: dict[tuple[int, str], Taken] = {}
        self.holds = False
        self.held.clear()
        self.connect(0)

    def connect(self, account: int) -> None:
        """Let the connection lead to this account."""
        self._account = account
        os.environ["AIRFLOW_CONN_SMARTECH_DEFAULT"] = os.environ[f"AIRFLOW_CONN_ACCOUNT_{account}"]

    def taken(self) -> list[Taken]:
        """Return what the sandboxes took, the oldest first for each; they have loaded what they will."""
        found = []
        for account, sandbox in enumerate(self.sandboxes):
            sandbox.settle()
            for row in reversed(sandbox.state.uploads()):
                key = (account, row["requestid"])
                if key not in self._taken:
                    callback = sandbox.callback_of(row["requestid"]) or ""
                    rows, whole = row["accepted"], row["state"] == "completed" and row["accepted"] == row["total"] > 0
                    name = str(key_of(callback.rpartition("/")[2]))
                    self._taken[key] = Taken(account, row["requestid"], row["path"], name, rows, whole)
                found.append(self._taken[key])
        return found

    def rewrite(self, contacts: Sequence[tuple[str, str]]) -> None:
        """Give the warehouse's table ``contacts`` these rows: addresses and names."""
        with sqlite3.connect(self._warehouse) as connection:
            connection.execute("DELETE FROM contacts")
            connection.executemany("INSERT INTO contacts VALUES (?, ?)", contacts)
        connection.close()

    def is_known(self, key: str) -> bool:
        """Whether the store knows an upload."""
        return self.store.has(key)

    def ids(self) -> list[str]:
        """Return the secret parts of all upload ids."""
        rows = ((sandbox, row["requestid"]) for sandbox in self.sandboxes for row in sandbox.state.uploads())
        callbacks = (sandbox.callback_of(requestid) for sandbox, requestid in rows)
        return [callback.rpartition("/")[2].partition("-")[2] for callback in callbacks if callback]

    def staged(self) -> list[str]:
        """Return the keys of this history's files in S3."""
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.prefix}/")
        return [item["Key"] for item in found.get("Contents", [])]

    def run(
        self,
        task: BaseOperator,
        ti: FakeTaskInstance,
        *,
        faults: frozenset[Fault] = frozenset(),
        trouble: Trouble | None = None,
        skew: timedelta = timedelta(),
    ) -> Try:
        """Run a try until it ends or defers."""
        for sandbox in self.sandboxes:
            sandbox.faults = faults | ({Fault.NO_PINGBACK} if Fault.PINGBACK_FIRST not in faults else frozenset())
        return self._do(lambda: task.execute(context(ti)), trouble, skew)

    def resume(
        self,
        task: BaseOperator,
        ti: FakeTaskInstance,
        deferred: Any,
        *,
        by_airflow: bool = False,
        trouble: Trouble | None = None,
        skew: timedelta = timedelta(),
        triggerer_skew: timedelta = timedelta(),
    ) -> Try:
        """Resume a deferred try: by its trigger, which looks now or whose time is over, or by Airflow's deadline."""
        method, arguments = "__fail__", {"error": "Trigger timeout"}
        if not by_airflow:
            trigger = rebuilt(deferred.trigger)
            assert isinstance(trigger, SmartechBulkUploadTrigger)
            is_over = not self._have_ended(trigger.keys, trigger.enough)
            trigger.deadline = 0.0 if is_over else trigger.deadline + 3600
            with _clock(triggerer_skew):
                method, arguments = deferred.method_name, {"event": run_trigger(trigger)}
        return self._do(lambda: task.resume_execution(method, arguments, context(ti)), trouble, skew)

    def ping(self, taken: Taken, said: Any, query: str, skew: timedelta) -> str:
        """Let Smartech call back; the receiver's clock is wrong by so much."""
        with _clock(skew):
            return self.sandboxes[taken.account].ping_back(taken.requestid, said, query)

    def purge(self) -> str:
        """Forget all uploads, and return what the log says of it."""
        self._logged.lines.clear()
        self.store.purge(datetime.now(UTC) + timedelta(days=1))
        return "\n".join(self._logged.lines)

    def state(self, upload: Upload, max_rejected: float | None = None) -> State:
        """Return what an upload is, as the page shows it."""
        return upload.progress(self._settings.statuses, max_rejected).state

    def _load(self, state: SandboxState, path: str, *given: Any) -> Load:
        if not self.holds:
            return load(state, path, *given)
        self.held[without_queries(path)] = partial(load, state, path, *given)
        return Load()

    def _new_requestid(self, account: int) -> str:
        return f"{next(self._numbers[account]):032x}"

    def _have_ended(self, keys: list[str], enough: int | None) -> bool:
        try:
            uploads = [self.store.read(key) for key in keys]
        except UploadUnknown:
            # It was purged meanwhile, and the trigger says so at once.
            return True
        return sum(self.state(upload).ended for upload in uploads) >= (len(keys) if enough is None else enough)

    def _do(self, call: Callable[[], Any], trouble: Trouble | None, skew: timedelta) -> Try:
        self._logged.lines.clear()
        end, value, trigger = "green", None, None
        error: BaseException | None = None
        try:
            with self._in(trouble), _clock(skew):
                value = call()
        except TaskDeferred as deferred:
            end, trigger = "deferred", deferred
        except (AirflowFailException, AirflowSensorTimeout) as failure:
            end, error = "red", failure
        except (Exception, Crash) as failure:  # noqa: BLE001 - as Airflow's task runner does
            end, error = "failed", failure
        texts = ["".join(traceback.format_exception(error))] if error else []
        return Try(end, "\n".join(self._logged.lines), value, error, trigger, texts)

    @contextmanager
    def _in(self, trouble: Trouble | None) -> Iterator[None]:
        """Let this happen meanwhile."""
        self._dead, self._s3_calls = False, 0
        self._trouble = trouble
        self.files.follow(self._store_call, self._store_wrote)
        try:
            yield
        finally:
            self._dead, self._trouble = False, None
            self.files.follow(None)

    def _store_call(self, number: int) -> None:
        self._happens("store", number)
        trouble = self._trouble
        if trouble and trouble.what == "refusal" and trouble.number <= number < trouble.number + trouble.times:
            raise OSError("503 Slow Down")
        if trouble and (trouble.what, trouble.number) == ("pingback", number):
            self._ping_meanwhile()

    def _store_wrote(self, name: str) -> None:
        if self._trouble and self._trouble.what == "written" and self._trouble.part in name:
            self._happens("written", self._trouble.number)

    def _ping_meanwhile(self) -> None:
        if taken := [one for one in self.taken() if one.account == self._account]:
            body, query = message("completed", taken[-1].requestid, taken[-1].rows, "")
            if self.ping(taken[-1], body, query, timedelta()) == "HTTP 200":
                self.pinged_meanwhile.append(taken[-1])

    def _happens(self, what: str, number: int) -> None:
        """Let the process die now, if it is to, and nothing that it does afterwards have an effect."""
        if self._trouble and (self._trouble.what, self._trouble.number) == (what, number):
            self._dead = True
        if self._dead:
            raise Crash(f"{what} {number}")

    def _post(self, session: requests.Session, *arguments: Any, **named: Any) -> Any:
        if not named["data"]:
            # The check of the API key, which sends no upload.
            return _POST(session, *arguments, **named)
        self._happens("request", 1)
        answer = _POST(session, *arguments, **named)
        self._happens("answer", 1)
        return answer

    def _call_s3(self, client: BaseClient, operation: str, arguments: Any) -> Any:
        self._s3_calls += 1
        self._happens("s3", self._s3_calls)
        return _CALL_S3(client, operation, arguments)

    def _fill_warehouse(self, path: Path) -> None:
        with sqlite3.connect(path) as connection:
            for version, emails in self.contacts.items():
                connection.execute(f"CREATE TABLE {version} (email TEXT)")
                connection.executemany(f"INSERT INTO {version} VALUES (?)", [(email,) for email in emails])
            connection.execute("CREATE TABLE contacts (email TEXT, name TEXT)")
        connection.close()
        os.environ["AIRFLOW_CONN_WAREHOUSE"] = json.dumps({"conn_type": "sqlite", "host": str(path)})


@contextmanager
def _clock(skew: timedelta) -> Iterator[None]:
    """Let this process's clock be wrong by so much."""
    if not skew:
        yield
        return
    with time_machine.travel(datetime.now(UTC) + skew, tick=True):
        yield


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")
