"""What Smartech's response to a request means."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from airflow_provider_smartech.errors import SmartechOutcomeUnknown, SmartechRefused, SmartechThrottled
from airflow_provider_smartech.json_values import read_json
from airflow_provider_smartech.redaction import scrub, scrub_json

# "Invalid API key" is documented for a similar call; other messages about keys and access are guesses. Later in a
# text, "key" alone may be the contacts' key.
REFUSED_KEY = re.compile(
    r"(\b(invalid|wrong|incorrect|unknown|missing|expired|inactive|no) api[ _-]?"
    r"|^\s*(invalid|wrong|incorrect|unknown|missing|expired|inactive|no) )key\b"
    r"|\bapi[ _-]?key (is )?(invalid|wrong|incorrect|unknown|missing|expired|inactive|required|not)\b",
    re.IGNORECASE,
)
NAMED_KEY = re.compile(r"\bapi[ _-]?key\b", re.IGNORECASE)
DOUBTFUL = re.compile(r"\bkey\b|api[ _-]?key|unauthori[sz]ed|authent|forbidden|denied|permission|token", re.IGNORECASE)
# Statuses that reject the request itself. Others, such as 408, 409 and 425, may come although an upload is running.
REFUSALS = frozenset({400, 401, 403, 404, 405, 406, 410, 411, 413, 414, 415, 422, 431})

EXCERPT_CHARACTERS = 500


class Response:
    """What Smartech answered.

    :param http_status: the HTTP status.
    :param body: the text, which should be a JSON object with ``result`` and ``requestid``.
    :param secrets: secrets that it may repeat and that must not be shown.
    """

    def __init__(self, http_status: int, body: str, secrets: Sequence[str]) -> None:
        self.http_status = http_status
        self.fields = _json_object(body)
        self.result = self.fields.get("result")
        # Scrubbed after decoding: escapes would hide a secret from the search.
        safe_fields = json.dumps(scrub_json(self.fields, secrets), ensure_ascii=False)
        shown = safe_fields if self.fields else scrub(_unescaped(body), secrets)
        self._seen: dict[str, Any] = {
            "http_status": http_status,
            "result": scrub(self.result, secrets)[:EXCERPT_CHARACTERS] if isinstance(self.result, str) else None,
            "body": shown[:EXCERPT_CHARACTERS],
        }

    def requestid(self, where: str) -> str:
        """Return the requestid of an upload that is accepted.

        :param where: the connection and the host, for messages.
        :raises SmartechThrottled: Smartech asked to try later (HTTP 429).
        :raises SmartechRefused: Smartech refused the upload.
        :raises SmartechOutcomeUnknown: the answer is not clear.
        """
        if self.http_status == 429:
            raise SmartechThrottled(
                f"Smartech accepts no more requests at the moment ({where}); try later", **self._seen
            )
        if 200 <= self.http_status < 300 and self._says_success and self._requestid:
            return self._requestid
        if self._refuses:
            raise SmartechRefused(
                f"Smartech refused the upload ({where}); check the API key, the IDC and the parameters", **self._seen
            )
        what = "Smartech had a server error" if self.http_status >= 500 else "Smartech's answer is not clear"
        raise SmartechOutcomeUnknown(
            f"{what} ({where}); check in its panel whether the upload is running", **self._seen
        )

    def check_api_key(self, where: str) -> None:
        """Read it as the answer to a request without a file, which is sent before work that may be in vain.

        Stricter than ``judge_api_key``, because a mistake would stop uploads that would be accepted: an upload with
        this answer must be refused as well, and the answer must name the API key or be HTTP 401.

        :raises SmartechRefused: it clearly refuses the API key.
        """
        is_named = self.http_status == 401 or NAMED_KEY.search(str(self.result))
        if self._refuses_key and self._refuses and self.http_status != 429 and is_named:
            raise SmartechRefused(f"Smartech refused the API key ({where}); nothing was sent", **self._seen)

    @property
    def _says_success(self) -> bool:
        return isinstance(self.result, str) and self.result.strip().lower() == "success"

    @property
    def _requestid(self) -> str:
        value = self.fields.get("requestid")
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return str(value)
        return value.strip() if isinstance(value, str) else ""

    @property
    def _refuses(self) -> bool:
        """Whether this is certainly a refusal: a refused upload is sent again without a warning."""
        if self._says_success or self.fields.get("requestid"):
            return False
        of_the_key = isinstance(self.result, str) and bool(REFUSED_KEY.search(self.result))
        return self.http_status in REFUSALS or (of_the_key and self.http_status // 100 in (2, 4))

    @property
    def _refuses_key(self) -> bool:
        """Whether it seems to refuse the API key."""
        if not isinstance(self.result, str):
            return False
        return self.http_status in (401, 403) or bool(REFUSED_KEY.search(self.result))

    def judge_api_key(self, host: str) -> tuple[bool, str]:
        """Read it as the answer to a request without a file: whether the key was not refused, and a message."""
        seen = f"HTTP {self.http_status}" + (f", result {self._seen['result']!r}" if self._seen["result"] else "")
        of_the_api, said = isinstance(self.result, str), str(self.result)
        if self._refuses_key:
            return False, f"{host} was reached and refused the API key ({seen})."
        if not of_the_api or self.http_status not in (200, 400, 422) or DOUBTFUL.search(said):
            return False, (
                f"{host} was reached, but its answer does not show whether the API key is right ({seen}). Check the "
                "IDC and the base URL."
            )
        return True, f"{host} was reached and did not refuse the API key ({seen}). The request had no file."


def _unescaped(text: str) -> str:
    """Undo JSON's escapes in a text that is not JSON as a whole."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda escape: chr(int(escape[1], 16)), text)
    return text.replace("\\/", "/")


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = read_json(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
