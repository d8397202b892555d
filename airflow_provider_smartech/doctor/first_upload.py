"""One real upload, and what its ping-backs carry and how they are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow_provider_smartech.api.parameters import BulkUploadParameters
from airflow_provider_smartech.doctor.finding import Finding, Result, broken, not_tried, ok
from airflow_provider_smartech.errors import SmartechError, UploadNotCompleted, UploadStatusUnrecognised, UploadTimeout
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.redaction import mask
from airflow_provider_smartech.tasks.sender import Sender
from airflow_provider_smartech.tasks.wait import Wait
from airflow_provider_smartech.uploads.overview import Event, events
from airflow_provider_smartech.uploads.statuses import Verdict
from airflow_provider_smartech.uploads.upload import TaskTry, Upload

UPLOAD, PINGBACK, RESULT = "upload", "its ping-back", "its result"


@dataclass(frozen=True, kw_only=True)
class FirstUpload:
    """A file that is sent to Smartech if ``agree`` says yes to the question whether it may be.

    ``task`` is the task that sends it, if one does: the uploads page shows it to those who may see that task.
    """

    path: str
    listid: int | None
    timeout: timedelta
    agree: Callable[[str], bool]
    task: TaskTry | None = None

    def links(self, hook: SmartechHook) -> Iterator[Finding]:
        """Send it, wait for its end, and yield its ping-backs, each with how it was read."""
        try:
            parameters = hook.parameters(self.path, self.listid)
            mask(parameters.secrets())
            if not self.agree(self._question(hook, parameters)):
                yield not_tried(UPLOAD, "nothing was sent, because you did not agree")
                return
            wait = Wait(self.timeout)
            upload = self._send(hook, wait, parameters)
        except SmartechError as error:
            yield broken(UPLOAD, str(error))
            return
        yield ok(UPLOAD, f"Smartech accepted {parameters.path} as {upload.requestid}, to {_list(parameters)}")
        yield from self._end(wait, upload)

    def _question(self, hook: SmartechHook, parameters: BulkUploadParameters) -> str:
        return (
            f"Send {parameters.path} to {_list(parameters)} with connection {hook.smartech_conn_id} "
            f"({hook.account.host})? Smartech adds and changes the contacts that are in it. (y/N) "
        )

    def _send(self, hook: SmartechHook, wait: Wait, parameters: BulkUploadParameters) -> Upload:
        sender = Sender(hook=hook, store=wait.store, settings=wait.settings, waits=True)
        sender.check()
        return sender.submit(parameters, parameters, self.task)

    def _end(self, wait: Wait, upload: Upload) -> Iterator[Finding]:
        ended, failure = upload, None
        summary: dict[str, Any] = {}
        try:
            (ended,) = wait.block([upload])
            summary = wait.conclude(ended)
        except SmartechError as error:
            failure = error
        for event in events(ended, wait.settings.statuses):
            if event.reading:
                yield _pingback(event)
        yield _result(failure, summary, wait)


def _result(failure: SmartechError | None, summary: dict[str, Any], wait: Wait) -> Finding:
    if failure is None:
        return ok(RESULT, f"completed: {_rows(summary)}", summary["seconds"])
    if isinstance(failure, UploadStatusUnrecognised):
        return broken(RESULT, "it is not known whether the contacts are loaded: a ping-back is not recognised")
    if isinstance(failure, UploadNotCompleted):
        return broken(RESULT, f"it {failure.what_happened}", "Smartech's panel shows the reason.")
    if isinstance(failure, UploadTimeout):
        return broken(
            RESULT,
            f"no ping-back ended it within {wait.timeout}",
            "If the contacts are on the list in the panel, Smartech sends no ping-back, or none that comes through. A "
            "late one is still kept: `airflow smartech show` shows it.",
        )
    return broken(RESULT, str(failure))


def _list(parameters: BulkUploadParameters) -> str:
    return "no list" if parameters.listid is None else f"list {parameters.listid}"


def _rows(summary: dict[str, Any]) -> str:
    if summary["accepted"] is None:
        return "its ping-back has no row counts that are known"
    return f"{summary['accepted']} rows accepted, {summary['rejected'] or 0} rejected"


def _pingback(event: Event) -> Finding:
    """Return a ping-back as the upload's page shows it."""
    reading = event.reading
    assert reading is not None  # noqa: S101 - for the type checker: only such events are shown
    is_clear = reading.verdict is not Verdict.UNRECOGNISED
    return Finding(
        link=PINGBACK,
        result=Result.OK if is_clear else Result.BROKEN,
        seen=f"{json.dumps(event.payload, ensure_ascii=False)}. {reading.text}",
        advice=reading.advice,
        payload=event.payload,
    )
