"""Part of ``make bench``: ping-backs per second, compared with a bare route with the same writes; and junk."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import uvicorn
from fastapi import FastAPI

from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.receiver.app import LARGEST_PINGBACK_BYTES, create_app
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import PingBack, Record, key_of, new_upload_id
from bench.progress import say
from bench.s3_stand_in import moto, use_s3
from tests.support.processes import free_ports
from tests.support.servers import eventually

REPORT = Path(__file__).with_name("pings.md")
BUCKET = "pings"
UPLOADS = 200
# More than are called back in all runs, if each is called back once.
MOST_UPLOADS = 8_000
SENDERS = 16
SECONDS = 10.0
ROUNDS = 3
JUNK = 10_000
WANTED = 0.8
PAYLOAD = json.dumps({"requestid": "0" * 32, "status": "completed", "total": 1000, "accepted": 1000}).encode()
TELL = "Content-Type: application/json\r\n"


def bare(store: UploadStore) -> FastAPI:
    """A route that writes what the receiver writes, without any checks."""
    app = FastAPI()

    @app.post("/pingback/{upload_id}")
    def keep(upload_id: str) -> dict[str, str]:
        store.add_pingback(str(key_of(upload_id)), PingBack(payload={"status": "completed"}))
        return {"status": "stored"}

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


APPS = {"receiver": create_app, "bare route": bare}


def main() -> None:
    """Measure both apps with both stores, then the receiver with junk, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.pings")
    parser.add_argument("--serve", nargs=3, metavar=("APP", "STORE", "PORT"), help="for the process of a server")
    options = parser.parse_args()
    if options.serve:
        name, url, port = options.serve
        uvicorn.run(APPS[name](open_upload_store(url)), port=int(port), access_log=False, log_level="error")
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smartech-bench-")))
        use_s3(stack.enter_context(moto(folder)), BUCKET)
        stores = {"a folder": f"file://{folder}/store", "S3": f"s3://bench_s3@{BUCKET}/store"}
        rates = {where: _rates(url) for where, url in stores.items()}
        rates["S3, the first call of each upload"] = _rates(stores["S3"], once=True)
        for where, found in rates.items():
            say(f"{where}: {found}")
        junk = _junk(stores["a folder"], folder / "store")
        say(f"junk: {junk}")
    REPORT.write_text("\n".join(_report(rates, junk)) + "\n", "utf-8")


def _rates(url: str, *, once: bool = False) -> dict[str, float]:
    """Return the ping-backs per second of each app; in alternating rounds, so that a slow machine affects both.

    :param once: whether each upload is called back only once.
    """
    ids = _submit(open_upload_store(url), MOST_UPLOADS if once else UPLOADS)
    pick = partial(next, iter(ids)) if once else partial(random.choice, ids)
    found: dict[str, list[float]] = {name: [] for name in APPS}
    for number in range(ROUNDS):
        for name in list(APPS)[:: -1 if number % 2 else 1]:
            with _serving(name, url) as (address, _process):
                asyncio.run(_send(address, pick, 1.0))
                found[name].append(asyncio.run(_send(address, pick, SECONDS)))
    return {name: statistics.median(rates) for name, rates in found.items()}


def _submit(store: UploadStore, number: int = UPLOADS) -> list[str]:
    ids = [new_upload_id() for _ in range(number)]
    for upload_id in ids:
        key = str(key_of(upload_id))
        store.create(Record(key=key, path="https://x.example/contacts.csv", smartech_conn_id="c", tracked=True))
    return ids


@contextmanager
def _serving(name: str, url: str) -> Iterator[tuple[str, psutil.Process]]:
    """Run an app in a separate process."""
    [port] = free_ports(1)
    process = subprocess.Popen([sys.executable, "-m", "bench.pings", "--serve", name, url, str(port)])
    address = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(address), 60)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


async def _send(address: str, pick: Callable[[], str], seconds: float) -> float:
    """Call back from several connections at once for a time, and return how many were acknowledged per second."""
    began = time.monotonic()
    counts = await asyncio.gather(*(_sender(address, pick, began + seconds) for _ in range(SENDERS)))
    return sum(counts) / (time.monotonic() - began)


async def _sender(address: str, pick: Callable[[], str], until: float) -> int:
    # Without a client library, which would use more CPU than the server.
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(address).port)
    taken = 0
    while time.monotonic() < until:
        writer.write(_request(pick(), PAYLOAD))
        status = await _status(reader)
        assert status == 200, status
        taken += 1
    writer.close()
    return taken


def _request(upload_id: str, body: bytes, headers: str = TELL) -> bytes:
    head = f"POST /pingback/{upload_id} HTTP/1.1\r\nHost: bench\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _status(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length:")[2].split("\r\n", 1)[0])
    await reader.readexactly(length)
    return int(head.split()[1])


def _junk(url: str, folder: Path) -> dict[str, float | str]:
    """Send junk requests, and return the state of the receiver afterwards."""
    ids = _submit(open_upload_store(url))
    pick = partial(random.choice, ids)
    with _serving("receiver", url) as (address, process):
        asyncio.run(_send(address, pick, 1.0))
        files, rate = sum(1 for _ in folder.rglob("*")), asyncio.run(_send(address, pick, SECONDS))
        files = sum(1 for _ in folder.rglob("*"))
        asyncio.run(_send_junk(address, ids, JUNK // 10))
        memory = process.memory_info().rss
        statuses = asyncio.run(_send_junk(address, ids, JUNK))
        grown = process.memory_info().rss - memory
        written = sum(1 for _ in folder.rglob("*")) - files
        after = asyncio.run(_send(address, pick, SECONDS))
        healthy = _answers(address)
    answers = ", ".join(f"{number:,} × {what}" for what, number in sorted(statuses.items(), key=str))
    return {
        "answers": answers,
        "grown": grown / 1e6,
        "written": written,
        "healthy": "yes" if healthy else "no",
        "rate": after / rate,
    }


async def _send_junk(address: str, ids: Sequence[str], number: int) -> Counter[str]:
    queue = iter(range(number))
    found: Counter[str] = Counter()

    async def sender() -> None:
        for which in queue:
            found[await _one_piece(address, ids, which)] += 1

    await asyncio.gather(*(sender() for _ in range(SENDERS)))
    return found


async def _one_piece(address: str, ids: Sequence[str], which: int) -> str:
    """Send one junk request and return the answer; none belongs to an upload."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(address).port)
    unknown, known = secrets.token_urlsafe(32), random.choice(ids)
    try:
        match which % 8:
            case 0:
                writer.write(_request(unknown, PAYLOAD))
            case 1:
                writer.write(_request("../../etc/passwd", PAYLOAD))
            case 2:
                writer.write(_request(known[:-1] + "%00", PAYLOAD))
            case 3:
                writer.write(_request(known, b"x" * (LARGEST_PINGBACK_BYTES + 1)))
            case 4:
                # Declares a short body and sends more, or an endless one.
                head = f"POST /pingback/{known} HTTP/1.1\r\nHost: bench\r\nTransfer-Encoding: chunked\r\n\r\n"
                writer.write(head.encode() + b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"10000\r\n" + b"x" * 65536)
            case 5:
                # A slow client, which disconnects in the middle.
                writer.write(_request(known, PAYLOAD)[:-20])
                await writer.drain()
                await asyncio.sleep(0.05)
                return "went away"
            case 6:
                writer.write(
                    _request(unknown, b"\xff\xfe\x00" * 1000, "Content-Type: application/json; charset=nope\r\n")
                )
            case _:
                writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01 not http at all\r\n\r\n")
        return f"HTTP {await _status(reader)}"
    except (ConnectionError, asyncio.IncompleteReadError):
        return "cut"
    finally:
        writer.close()


def _report(rates: dict[str, dict[str, float]], junk: dict[str, float | str]) -> Iterator[str]:
    yield "# Ping-backs"
    yield ""
    yield (
        f"Made by `make bench` on {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} cores, which the senders and the "
        f"stand-in for S3 share. Ping-backs per second that were stored before they were acknowledged, from {SENDERS} "
        f"connections at once to one process; medians of {ROUNDS} runs of {SECONDS:.0f} s. The bare route writes the "
        "same two files, but does not check whether the upload is known, and does not read the body. The receiver "
        f"remembers the uploads that it has seen: {UPLOADS} of them are called back again and again. In the last row, "
        "each is called back once: then the check is a third request to S3, and the stand-in, which answers one "
        "request at a time, limits the rate."
    )
    yield ""
    yield "| store | receiver | bare route | wanted | measured |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for where, found in rates.items():
        ours, peer = found["receiver"], found["bare route"]
        yield f"| {where} | {ours:,.0f} | {peer:,.0f} | at least {WANTED} | {ours / peer:.2f} |"
    yield ""
    yield (
        f"Then {JUNK:,} requests that Smartech would never send: unknown and malformed ids, bodies that are too large "
        "or endless, slow clients that disconnect, wrong encodings, no HTTP at all."
    )
    yield ""
    yield "| what | wanted | measured |"
    yield "| --- | ---: | ---: |"
    yield f"| answers | | {junk['answers']} |"
    yield f"| files written | 0 | {junk['written']} |"
    yield f"| memory, MB more than after the first {JUNK // 10:,} | at most 5 | {junk['grown']:.1f} |"
    yield f"| healthy | yes | {junk['healthy']} |"
    yield f"| ping-backs a second, afterwards / before | at least 0.9 | {junk['rate']:.2f} |"


if __name__ == "__main__":
    main()
