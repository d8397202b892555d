"""What every receiver does, wherever it runs: in Airflow's API server, alone, or as a Lambda function.

The store is in S3, with only the rights that deploy/aws/template.yaml gives the Lambda function.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from airflow_provider_smartech import __version__
from airflow_provider_smartech.receiver.app import LARGEST_PINGBACK_BYTES
from airflow_provider_smartech.uploads.s3_folder import S3Folder
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import PingBack, key_of, new_probe_id, new_upload_id
from cluster.tcp_proxy import TcpProxy
from tests.support.aws_template import Template
from tests.support.lambda_function import LambdaFunction
from tests.support.policed_s3 import PolicedS3
from tests.support.receiver_alone import receiver_alone
from tests.support.records import record
from tests.support.standalone_airflow import Airflow

KEYS = {"AWS_ACCESS_KEY_ID": "role", "AWS_SECRET_ACCESS_KEY": "role-secret", "AWS_DEFAULT_REGION": "us-east-1"}
PREFIX = "smartech"
WORD = "hibernating"
MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="status"\r\n\r\n' + WORD.encode() + b"\r\n--x--\r\n",
    "multipart/form-data; boundary=x",
)
FORM = "application/x-www-form-urlencoded"


class Storage:
    """An upload store in S3: for the tests, and for a receiver that may do what the template allows."""

    def __init__(self, moto: str) -> None:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test-secret", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=moto, **keys)
        self.bucket = f"bucket-{uuid.uuid4().hex}"
        client.create_bucket(Bucket=self.bucket)
        self.store = UploadStore(S3Folder(f"s3://{self.bucket}/{PREFIX}", lambda _: client))
        self.template = Template(StoreBucket=self.bucket, StorePrefix=PREFIX)
        self.policed = PolicedS3(self.template.policy("store"))
        self.network = TcpProxy()
        self.network.lead_to(self.policed.port)
        self.endpoint = f"http://127.0.0.1:{self.network.port}"


@dataclass
class Receiver:
    """A running receiver."""

    url: str
    storage: Storage
    log: Callable[[], str]

    def post(self, upload_id: str, query: str = "", content: bytes = b"{}", kind: str = "") -> httpx.Response:
        headers = {"Content-Type": kind} if kind else {}
        return self.call("POST", f"/pingback/{upload_id}{query}", content=content, headers=headers)

    def call(self, method: str, path: str, **given: Any) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=60) as anybody:
            return anybody.request(method, f"{self.url}{path}", **given)

    def upload(self) -> str:
        """Record an upload and return its id."""
        upload_id = new_upload_id()
        self.storage.store.create(record(key=str(key_of(upload_id))))
        return upload_id

    def kept(self, upload_id: str) -> list[PingBack]:
        pingbacks = self.storage.store.read(str(key_of(upload_id))).pingbacks
        return sorted(pingbacks, key=lambda pingback: pingback.at)


def in_api_server(storage: Storage, folder: Path, until: ExitStack) -> Receiver:
    extra = {"endpoint_url": storage.endpoint, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "role", "password": "role-secret", "extra": extra}
    settings = {
        "AIRFLOW_CONN_ROLE": json.dumps(connection),
        "AIRFLOW__SMARTECH__UPLOAD_STORE": f"s3://role@{storage.bucket}/{PREFIX}",
        # By default it is more patient than this test.
        "AWS_MAX_ATTEMPTS": "2",
    }
    (folder / "dags").mkdir()
    airflow = Airflow(folder / "home", folder / "dags", settings)
    until.callback(airflow.stop)
    airflow.start_api_server()

    def log() -> str:
        lines = airflow.log.read_text("utf-8", "replace").splitlines()
        # Its access log names the paths; README.md says so.
        return "\n".join(line for line in lines if "/smartech/pingback/" not in line)

    return Receiver(f"{airflow.url}/smartech", storage, log)


def alone(storage: Storage, folder: Path, until: ExitStack) -> Receiver:
    url = f"s3://{storage.bucket}/{PREFIX}"
    settings = {**KEYS, "AWS_ENDPOINT_URL": storage.endpoint, "AIRFLOW__SMARTECH__UPLOAD_STORE": url}
    base, _ = until.enter_context(receiver_alone({**settings, "NO_PROXY": "127.0.0.1"}, folder / "log"))
    return Receiver(base, storage, lambda: (folder / "log").read_text("utf-8"))


def as_lambda(storage: Storage, folder: Path, until: ExitStack) -> Receiver:
    wanted = storage.template.properties("Function")
    settings = {**KEYS, "AWS_ENDPOINT_URL": storage.endpoint, **wanted["Environment"]["Variables"]}
    function = until.enter_context(LambdaFunction(folder, wanted["Handler"], settings, wanted["Timeout"]))
    return Receiver(function.url, storage, lambda: function.log.read_text("utf-8"))


# Two of them run outside of Airflow, with packages of their own.
OUTSIDE = [pytest.param(way, marks=pytest.mark.once) for way in (alone, as_lambda)]
WAYS = [pytest.param(in_api_server, marks=pytest.mark.airflow), *OUTSIDE]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.__name__)
def receiver(request: pytest.FixtureRequest, moto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    storage = Storage(moto)
    with ExitStack() as until:
        until.enter_context(storage.policed)
        until.enter_context(storage.network)
        yield request.param(storage, tmp_path_factory.mktemp("receiver"), until)


@pytest.mark.parametrize(
    ("content", "kind", "query", "payload", "asked"),
    [
        (b'{"status": "done", "n": [1]}', "application/json", "", {"status": "done", "n": [1]}, {}),
        ('{"status": "fertig – ä"}'.encode(), "application/json; charset=utf-8", "", {"status": "fertig – ä"}, {}),
        (b"status=done&n=1&n=2", FORM, "?a=1&a=2", {"status": "done", "n": ["1", "2"]}, {"a": ["1", "2"]}),
        (*MULTIPART, "", {"status": WORD}, {}),
        (b"all is well", "text/plain", "", "all is well", {}),
        (b"all is well", "", "", "all is well", {}),
        (b"\xff\x00", "application/octet-stream", "", "\\xff\\x00", {}),
        (b"", "", "?status=done&note=a%20b%2Bc%26d", "", {"status": "done", "note": "a b+c&d"}),
        (b"", "", "", "", {}),
    ],
)
def test_a_pingback_of_any_form_is_kept(
    receiver: Receiver, content: bytes, kind: str, query: str, payload: Any, asked: Any
) -> None:
    upload_id = receiver.upload()
    answer = receiver.post(upload_id, query, content, kind)
    assert (answer.status_code, answer.json()) == (200, {"status": "stored"})
    assert answer.headers["Content-Type"] == "application/json"
    [pingback] = receiver.kept(upload_id)
    assert (pingback.payload, pingback.query) == (payload, asked)


def test_waiters_hear_of_a_pingback(receiver: Receiver) -> None:
    upload_id = receiver.upload()
    receiver.post(upload_id)
    assert str(key_of(upload_id)) in receiver.storage.store.arrivals().values()


def test_the_pingback_of_a_probe_is_kept_as_well(receiver: Receiver) -> None:
    probe_id = new_probe_id()
    key = str(key_of(probe_id))
    receiver.storage.store.create_probe(key)
    assert receiver.post(probe_id).status_code == 200
    assert [pingback.payload for pingback in receiver.storage.store.pingbacks_of_probe(key)] == [{}]


def test_an_id_that_is_unknown_or_has_not_the_form_of_one_is_404(receiver: Receiver) -> None:
    before = len(receiver.storage.store.arrivals())
    for wrong in (
        new_upload_id(),
        new_probe_id(),
        "x",
        "..%2F..%2Fetc",
        "%00",
        "a%20b",
        "20260101T000000-" + "%C3%A4" * 43,
    ):
        assert receiver.post(wrong).status_code == 404
    assert len(receiver.storage.store.arrivals()) == before


def test_a_body_is_taken_up_to_the_limit_and_413_above(receiver: Receiver) -> None:
    upload_id = receiver.upload()
    for kind in ("text/plain", FORM):
        assert receiver.post(upload_id, "", b"x" * LARGEST_PINGBACK_BYTES, kind).status_code == 200
        assert receiver.post(upload_id, "", b"x" * (LARGEST_PINGBACK_BYTES + 1), kind).status_code == 413
    assert len(receiver.kept(upload_id)) == 2


def test_only_post_is_taken(receiver: Receiver) -> None:
    upload_id = receiver.upload()
    for method in ("GET", "PUT", "DELETE"):
        answer = receiver.call(method, f"/pingback/{upload_id}")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert receiver.kept(upload_id) == []


def test_health_is_json_that_says_whose_it_is(receiver: Receiver) -> None:
    answer = receiver.call("GET", "/health")
    told = {"service": "airflow-provider-smartech", "version": __version__, "status": "ok"}
    assert (answer.status_code, answer.json()) == (200, told)


def test_while_the_store_is_away_pingbacks_get_503_with_retry_after_and_later_they_are_kept(receiver: Receiver) -> None:
    upload_id = receiver.upload()
    with receiver.storage.network.closed():
        answer = receiver.post(upload_id)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
        assert receiver.post(new_upload_id()).status_code == 503, "it is not known that there is no such upload"
    assert receiver.kept(upload_id) == []
    assert receiver.post(upload_id).status_code == 200
    assert len(receiver.kept(upload_id)) == 1


def test_nothing_is_logged_of_an_id_or_a_payload(receiver: Receiver) -> None:
    upload_id, unknown = receiver.upload(), new_upload_id()
    told = b'{"status": "%b", "email": "ana@example.com"}' % WORD.encode()
    for one in (upload_id, unknown):
        receiver.post(one, f"?word={WORD}", told)
        receiver.post(one, f"?word={WORD}", WORD.encode() * LARGEST_PINGBACK_BYTES)
        receiver.post(one, "", *MULTIPART)
        receiver.call("GET", f"/pingback/{one}?word={WORD}")
    with receiver.storage.network.closed():
        receiver.post(upload_id, f"?word={WORD}", told)
    assert receiver.call("GET", "/health").status_code == 200
    log = receiver.log()
    assert log.count("The upload store failed while a call was answered. ") >= 1
    secret = (upload_id, unknown, upload_id[16:], str(key_of(upload_id)), WORD, "ana@example.com")
    assert [said for said in secret if said in log] == []


def test_the_role_s_rights_are_enough(receiver: Receiver) -> None:
    """Runs last: it looks at what all other tests made the receiver do."""
    assert receiver.storage.policed.denied == []
    assert receiver.storage.policed.used == {(0, "s3:ListBucket"), (1, "s3:GetObject"), (2, "s3:PutObject")}
