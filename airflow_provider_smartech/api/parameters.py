"""The parameters of Smartech's "Add Bulk Contact" call, checked before anything is sent."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from airflow_provider_smartech.errors import SmartechInvalidParameter
from airflow_provider_smartech.redaction import SHORTEST_SECRET_VALUE, SecretUrl, without_queries

# How links are signed, again for every try: the parameters that identify a scheme, and those that it adds. In other
# links, parameters with such names, or "token", may identify the file.
_SIGNATURES = (
    # Amazon's version 4, Google's, Amazon's version 2, Google's.
    ({"x-amz-signature"}, r"x-amz-.*"),
    ({"x-goog-signature"}, r"x-goog-.*"),
    ({"signature", "awsaccesskeyid", "expires"}, r"signature|awsaccesskeyid|expires|x-amz-security-token"),
    ({"signature", "googleaccessid", "expires"}, r"signature|googleaccessid|expires"),
    # CloudFront's.
    ({"signature", "key-pair-id", "expires"}, r"signature|key-pair-id|expires"),
    ({"signature", "key-pair-id", "policy"}, r"signature|key-pair-id|policy"),
    # Azure's.
    ({"sig", "sv"}, r"sig|s[veptri]|ss|srt|spr|sip|ske|sko|sks|skt|skv|skoid|sktid|sdd|ses|saoid|suoid|scid"),
)
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>.]+")


@dataclass(frozen=True, kw_only=True)
class BulkUploadParameters:
    """One upload, with the parameter names of Smartech's page "Add Bulk Contact".

    ``path``: the URL of a hosted ``.csv`` that Smartech's servers fetch; ``listid``: the list to add the
    contacts to; ``notifyemail``: who gets an e-mail at completion; ``callback``: the ping-back URL.
    Its text form leaves out the path's query, the e-mail address and the callback.
    """

    path: SecretUrl
    listid: int | None
    notifyemail: str | None
    callback: SecretStr | None

    @classmethod
    def check(
        cls,
        path: str | SecretUrl,
        listid: int | str | None = None,
        notifyemail: str | None = None,
        callback: str | SecretStr | None = None,
    ) -> BulkUploadParameters:
        """Check the parameters and return them in the right types.

        :raises SmartechInvalidParameter: the API does not accept one of them; the message says what to do.
        """
        return cls(
            path=SecretUrl(_url("path", path, "the full address of a hosted .csv file")),
            listid=None if listid is None else checked_listid(listid),
            notifyemail=None if notifyemail is None else checked_notifyemail(notifyemail),
            callback=None if callback is None else SecretStr(_url("callback", callback, "the address of a ping-back")),
        )

    def form(self) -> dict[str, str]:
        """Return the body of the request; parameters that are not given are left out."""
        fields = {
            "path": self.path.get_secret_value(),
            "listid": str(self.listid) if self.listid is not None else None,
            "notifyemail": self.notifyemail,
            "callback": self.callback.get_secret_value() if self.callback else None,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def with_callback(self, callback: str) -> BulkUploadParameters:
        """Return the same upload with this ping-back URL."""
        return replace(self, callback=SecretStr(callback))

    def secrets(self) -> list[str]:
        """Return the values that no log may show."""
        return [*self.path.secrets(), *self.callback_secrets()]

    def callback_secrets(self) -> list[str]:
        """Return those of the callback alone."""
        if not self.callback:
            return []
        # An answer may contain only a part of the callback: of its path, or of an upload id without the time.
        url = self.callback.get_secret_value()
        parts = [name for part in urlsplit(url).path.split("/") for name in (part, part.partition("-")[2])]
        return [url, *(part for part in parts if len(part) >= SHORTEST_SECRET_VALUE)]

    def fingerprint(self) -> str:
        """Return a hash that identifies the upload: the file, without its link's signature, and the list."""
        query = sorted(_unsigned(urlsplit(self.path.get_secret_value()).query))
        text = json.dumps([str(self.path), query, self.listid])
        return hashlib.sha256(text.encode()).hexdigest()[:40]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(path={str(self.path)!r}, listid={self.listid})"


def _unsigned(query: str) -> list[tuple[str, str]]:
    """Return a query's parameters without those of the link's signature."""
    pairs = parse_qsl(query, keep_blank_values=True)
    given = {name.lower() for name, value in pairs if value}
    added = "|".join(adds for shown_by, adds in _SIGNATURES if shown_by <= given)
    return [pair for pair in pairs if not re.fullmatch(added, pair[0], re.IGNORECASE)] if added else pairs


def _url(parameter: str, value: str | SecretUrl | SecretStr, meaning: str) -> str:
    url = value.get_secret_value() if isinstance(value, SecretUrl | SecretStr) else value
    if not isinstance(url, str) or not _is_absolute_http(url):
        shown = f"; got {without_queries(str(url))[:200]!r}" if parameter == "path" else ""
        raise SmartechInvalidParameter(
            parameter, f"give {meaning}, beginning with https:// or http:// and without blanks{shown}."
        )
    return url


def _is_absolute_http(url: str) -> bool:
    if re.search(r"[\s\x00-\x1f\x7f\\\"<>]", url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def checked_listid(value: int | str) -> int:
    """Return the number of a list.

    :raises SmartechInvalidParameter: the value is not such a number.
    """
    digits = value.strip() if isinstance(value, str) else value
    if isinstance(digits, str) and re.fullmatch(r"[0-9]{1,18}", digits):
        digits = int(digits)
    if isinstance(digits, bool) or not isinstance(digits, int) or digits < 1:
        raise SmartechInvalidParameter(
            "listid",
            f"give the number of a Smartech list, a positive integer, or None for no list; got {str(value)[:50]!r}.",
        )
    return digits


def checked_notifyemail(value: str) -> str:
    """Return an e-mail address.

    :raises SmartechInvalidParameter: the value is not an e-mail address.
    """
    if not isinstance(value, str) or not _EMAIL.fullmatch(value):
        raise SmartechInvalidParameter("notifyemail", "give one e-mail address like ops@example.com, or None for none.")
    return value
