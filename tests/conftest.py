"""What every test gets: an Airflow home of its own, a sandbox, hosted files, a store and a receiver, all real."""

from __future__ import annotations

import os
import tempfile

# Before Airflow is imported anywhere: it reads its home once.
_HOME = tempfile.TemporaryDirectory(prefix="smartech-tests-")
for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["NO_PROXY"] = "127.0.0.1,localhost"
# On Python 3.14, Airflow's commands print a warning about their own code to stdout.
os.environ["PYTHONWARNINGS"] = "ignore:FileType is deprecated:PendingDeprecationWarning"

import json  # noqa: E402
import uuid  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from functools import cache  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import boto3  # noqa: E402
import pytest  # noqa: E402
from airflow.sdk import BaseHook  # noqa: E402
from airflow.sdk._shared.secrets_masker import reset_secrets_masker  # noqa: E402
from botocore.loaders import create_loader  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

from airflow_provider_smartech.config.settings import Settings  # noqa: E402
from airflow_provider_smartech.config.upload_store import configured_upload_store  # noqa: E402
from airflow_provider_smartech.hooks import SmartechHook  # noqa: E402
from airflow_provider_smartech.sandbox import SandboxServer  # noqa: E402
from airflow_provider_smartech.uploads.store import UploadStore  # noqa: E402
from tests.support.contacts import CSV  # noqa: E402
from tests.support.file_server import FileServer  # noqa: E402
from tests.support.postgres import PostgresServer  # noqa: E402
from tests.support.servers import ReceiverServer  # noqa: E402

# Airflow 3.1 imports much at the first connection, and its own imports warn.
os.environ["AIRFLOW_CONN_FIRST"] = "generic://"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    BaseHook.get_connection("first")

API_KEY = "k3y/with+signs=&more"

SetConnection = Callable[..., None]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    """Three contacts, hosted."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "contacts.csv").write_text(
        'EMAIL,NAME\na@example.com,"Müller, Ana"\nb@example.com,"two\nlines"\nc@example.com,"said ""hi"""\n', "utf-8"
    )
    with FileServer(folder) as server:
        yield server


@pytest.fixture
def csv_url(files: FileServer) -> str:
    return f"{files.url}/contacts.csv"


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxServer]:
    """The sandbox, and the connection ``smartech_default`` to it."""
    with SandboxServer(api_key=API_KEY) as server:
        connection = {"conn_type": "smartech", "password": API_KEY, "host": server.api_url}
        monkeypatch.setenv("AIRFLOW_CONN_SMARTECH_DEFAULT", json.dumps(connection))
        yield server


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, SandboxServer]]:
    """Two accounts of Smartech that issue the same requestid, r1, by the names of the connections to them."""
    with SandboxServer(new_requestid=lambda: "r1") as retail, SandboxServer(new_requestid=lambda: "r1") as travel:
        servers = {"retail": retail, "travel": travel}
        for name, server in servers.items():
            connection = {"conn_type": "smartech", "password": server.api_key, "host": server.api_url}
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({**connection, "extra": {"account": name}}))
        yield servers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long, so that none of them runs alone at the end."""
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in ("once", "airflow")))


@pytest.fixture(scope="session", autouse=True)
def clients_of_s3_are_made_quickly() -> Iterator[None]:
    """Boto reads its models once, and nobody looks through the whole stack for what the User-Agent could say."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", cache(create_loader))
        patch.setattr("airflow.providers.amazon.aws.hooks.base_aws.AwsGenericHook._get_caller", lambda self: "tests")
        yield


@pytest.fixture(autouse=True)
def no_masks_of_other_tests() -> None:
    """Airflow's masker never forgets in a process, and takes longer with each secret."""
    reset_secrets_masker()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product's waits, shortened."""
    monkeypatch.setattr(SmartechHook, "retry_wait", 0.05)
    monkeypatch.setattr(SmartechHook, "read_timeout", 2.0)
    monkeypatch.setenv("AIRFLOW__SMARTECH__POLL_INTERVAL", "0.05")
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "0")


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def s3(moto: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of S3, and the Airflow connections ``aws_default`` and ``s3_test`` to the same."""
    extra = {"endpoint_url": moto, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "test", "password": "test-secret", "extra": extra}
    for name in ("AWS_DEFAULT", "S3_TEST"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test-secret"}
    return boto3.client("s3", endpoint_url=moto, region_name="us-east-1", **keys)


@pytest.fixture
def bucket(s3: Any) -> str:
    """A fresh bucket."""
    name = f"bucket-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3_folder(bucket: str) -> str:
    """A prefix of a fresh bucket, reached through the Airflow connection ``s3_test``."""
    return f"s3://s3_test@{bucket}/prefix"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UploadStore:
    """The store that ``[smartech] upload_store`` names, in a folder of its own."""
    monkeypatch.setenv("AIRFLOW__SMARTECH__UPLOAD_STORE", f"file://{tmp_path}/uploads")
    return configured_upload_store()


@pytest.fixture
def receiver(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReceiverServer]:
    """The receiver over HTTP, and the setting that sends Smartech there."""
    with ReceiverServer(store) as server:
        monkeypatch.setenv("AIRFLOW__SMARTECH__CALLBACK_BASE_URL", server.url)
        yield server


@pytest.fixture
def settings(store: UploadStore) -> Settings:
    return Settings.load()


@pytest.fixture
def warehouse(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Airflow connection ``warehouse`` to a real PostgreSQL."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(postgres.connection))


@pytest.fixture
def csv_in_s3(s3: Any, bucket: str) -> None:
    """Two contacts in the bucket, at ``exports/contacts.csv``."""
    s3.put_object(Bucket=bucket, Key="exports/contacts.csv", Body=CSV)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs that were submitted."""
    urls: list[str] = []
    submit = SmartechHook.submit

    def spy(self: SmartechHook, parameters: Any) -> str:
        urls.append(parameters.path.get_secret_value())
        return submit(self, parameters)

    monkeypatch.setattr(SmartechHook, "submit", spy)
    return urls


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> SetConnection:
    """Gives the connection ``smartech_default`` these fields, and the key of the sandbox unless told otherwise."""

    def set_connection(**fields: object) -> None:
        full = {"conn_type": "smartech", "password": API_KEY, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_SMARTECH_DEFAULT", json.dumps(full))

    return set_connection
