"""The way of a ping-back: from the public address through the proxy and the receiver into the upload store."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_smartech import __version__
from airflow_provider_smartech.api.account import is_internal, is_out_of_reach, leads_to_private_network
from airflow_provider_smartech.doctor.calls import CLOCK_TOLERANCE, Answer, NoAnswer, call
from airflow_provider_smartech.doctor.finding import Finding, Result, broken, not_tried, ok, warning
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.redaction import SecretUrl, mask
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import key_of, new_probe_id, secrets_of

ADDRESS, PINGBACK, RECEIVER, CLOCK = "callback address", "ping-back", "receiver", "clock"
LINKS = (ADDRESS, PINGBACK, RECEIVER, CLOCK)

SERVICE = "airflow-provider-smartech"
STORED = {"status": "stored"}
# What a ping-back of Smartech's may look like: a firewall may look into it.
PAYLOAD = {"requestid": "0" * 32, "status": "completed", "total": 2, "accepted": 2}
# Seconds in which a ping-back that was answered must be seen by this process.
ARRIVAL_SECONDS = 10.0

Outcome = Answer | NoAnswer


def callback_links(base: str, store: UploadStore, host: str | None) -> Iterator[Finding]:
    """Yield whether a ping-back that is sent to the callback's address arrives in the store.

    :param base: ``callback_base_url``.
    :param host: the host of Smartech's API, None if it is not known.
    """
    yield _address(base, host)
    probe_id = new_probe_id()
    mask(secrets_of(probe_id))
    yield from _Probe(base, store, probe_id).findings()


def _address(base: str, host: str | None) -> Finding:
    shown, parts = str(SecretUrl(base)), urlsplit(base)
    name = parts.hostname or ""
    if host and is_out_of_reach(name, host):
        return broken(
            ADDRESS,
            f"{name} is not reachable from the internet, so no ping-back of {host} will come",
            "Set [smartech] callback_base_url to the URL at which Smartech's servers reach the receiver.",
        )
    if parts.scheme == "http" and not is_internal(name):
        return warning(
            ADDRESS,
            f"{shown} is plain http: anyone on the network path can report that an upload has ended",
            "Use https for [smartech] callback_base_url.",
        )
    if host and not is_internal(host) and leads_to_private_network(name):
        return warning(
            ADDRESS,
            f"{name} has only private addresses here, so what follows does not prove that the internet reaches it",
            f"Open {shown}/health from outside your network: it must answer JSON.",
        )
    return ok(ADDRESS, shown)


@dataclass(frozen=True)
class _Probe:
    """A ping-back that is sent as Smartech would send one, and what came of it."""

    base: str
    store: UploadStore
    upload_id: str

    @property
    def key(self) -> str:
        return str(key_of(self.upload_id))

    def findings(self) -> Iterator[Finding]:
        try:
            self.store.create_probe(self.key)
        except UploadStoreError:
            yield from (not_tried(link, "the upload store cannot be written") for link in (PINGBACK, RECEIVER, CLOCK))
            return
        try:
            # Where a proxy redirects to, or an error page, may contain the id.
            answer = _outcome(
                "POST", f"{self.base}/pingback/{self.upload_id}", PAYLOAD, secrets=secrets_of(self.upload_id)
            )
            health = _outcome("GET", f"{self.base}/health")
            pingback = self._pingback(answer, health)
            yield pingback
            yield self._receiver(health, arrived=pingback.result is not Result.BROKEN)
            yield _clock([answer, health])
        finally:
            with suppress(UploadStoreError):
                self.store.remove_probe(self.key)

    @property
    def where(self) -> str:
        return f"{SecretUrl(self.base)}/pingback/…"

    def _pingback(self, answer: Outcome, health: Outcome) -> Finding:
        if isinstance(answer, NoAnswer):
            return broken(
                PINGBACK,
                f"POST {self.where}: {answer}",
                "Check [smartech] callback_base_url, and that the receiver (Airflow's API server, or the standalone "
                "one) and the proxy before it run. If this machine may not call that address, run the doctor where it "
                "may.",
            )
        if answer.status == 200 and answer.json == STORED:
            return self._arrival(answer)
        return broken(
            PINGBACK, f"POST {self.where} was answered with {answer.shown}", _advice(self.base, answer, health)
        )

    def _arrival(self, answer: Answer) -> Finding:
        deadline = time.monotonic() + ARRIVAL_SECONDS
        try:
            while not (found := self.store.pingbacks_of_probe(self.key)) and time.monotonic() < deadline:
                time.sleep(0.2)
        except UploadStoreError as error:
            return broken(PINGBACK, f"the receiver stored it, but it cannot be read here: {error}")
        if not found:
            return broken(
                PINGBACK,
                f"the receiver says that it stored it, but it is not in {self.store.shown_url}",
                "Use a storage without a cache between its users for [smartech] upload_store.",
            )
        if found[0].payload != PAYLOAD:
            return warning(
                PINGBACK,
                "it arrived, but with another content than was sent",
                "Something between Smartech and the receiver changes the bodies of calls: let it not.",
            )
        return ok(PINGBACK, f"sent to {self.where} and arrived in the upload store", answer.seconds)

    def _receiver(self, health: Outcome, *, arrived: bool) -> Finding:
        seen, advice = _health(health)
        if not seen and isinstance(health, Answer):
            return ok(RECEIVER, f"{SERVICE} {__version__} answers /health", health.seconds)
        if arrived:
            return warning(
                RECEIVER, seen, advice or "Ping-backs arrive all the same; the proxy may keep /health closed."
            )
        return broken(RECEIVER, seen, advice)


def _health(health: Outcome) -> tuple[str, str]:
    """Return what is wrong with the answer of ``/health``, and what to do; empty if nothing is."""
    if isinstance(health, NoAnswer):
        return f"/health: {health}", ""
    said = health.json
    if said.get("service") != SERVICE:
        return f"/health answers {health.shown}, not the receiver's JSON", ""
    if health.status == 503:
        return "it runs, but cannot reach its upload store", "See its log, and the connection of its upload store."
    if said.get("version") != __version__:
        return (
            f"it is version {str(said.get('version'))[:30]!r} of the package; here it is {__version__}",
            "Install the same version everywhere, and restart the receiver.",
        )
    return "", ""


def _advice(base: str, answer: Answer, health: Outcome) -> str:
    """Return what to do about an answer that is not the receiver's 200."""
    target = answer.redirects_to
    if target and "/pingback/" in target and target.startswith("https:") and base.startswith("http:"):
        return "Smartech may not follow it: set [smartech] callback_base_url to the https:// address."
    if target or answer.status in (401, 403, 407):
        return (
            "A login or a firewall stands before the receiver: let POST <callback base>/pingback/* pass without it. "
            "Smartech cannot log in."
        )
    is_ours = isinstance(health, Answer) and health.json.get("service") == SERVICE
    if answer.status == 503 and is_ours:
        return "The receiver cannot reach its upload store: see its log, and the connection of its upload store."
    if answer.status == 404 and is_ours:
        if isinstance(health, Answer) and health.json.get("version") != __version__:
            return "The receiver is of another version, which may not know probes: install the same version everywhere."
        return (
            "The receiver runs, but does not find what this process wrote: they use two different upload stores. Set "
            "[smartech] upload_store to the same place for both, and restart the receiver."
        )
    if answer.status in (502, 504) or (answer.status == 503 and not is_ours):
        return (
            "The proxy does not reach the receiver: check that Airflow's API server, or the standalone receiver, runs."
        )
    if answer.status == 413 or answer.status == 429:
        return "The proxy limits calls: allow bodies of 64 KiB, and several calls at a time."
    return (
        "This is not the receiver. Is Airflow's plugin loaded there (`airflow plugins`)? Is the path right (Airflow's "
        "own receiver is at <[api] base_url>/smartech, the standalone one has no /smartech)? Does the proxy pass it on?"
    )


def _clock(outcomes: list[Outcome]) -> Finding:
    answers = [one for one in outcomes if isinstance(one, Answer) and one.clock_difference is not None]
    if not answers or (ahead := answers[0].clock_difference) is None:
        return not_tried(CLOCK, "no answer said what time it is")
    if abs(ahead) > CLOCK_TOLERANCE:
        return warning(
            CLOCK,
            f"the clock of the host that answers is {abs(ahead)} {'ahead of' if ahead.days >= 0 else 'behind'} "
            "this machine's",
            "Set both by NTP: times in lists are wrong, and signed links may not be valid yet, or no longer.",
        )
    return ok(CLOCK, f"the host that answers and this machine agree within {abs(ahead).seconds + 1} s")


def _outcome(method: str, url: str, json: Any = None, secrets: Iterable[str] = ()) -> Outcome:
    try:
        return call(method, url, json, secrets)
    except NoAnswer as error:
        return error
