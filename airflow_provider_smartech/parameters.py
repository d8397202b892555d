"""The parameters of Smartech's "Add Bulk Contact" call, checked before anything is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from pydantic import SecretStr

from airflow_provider_smartech.errors import SmartechInvalidParameter
from airflow_provider_smartech.redaction import SecretUrl, without_queries

_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>.]+")


@dataclass(frozen=True, kw_only=True)
class BulkUploadParameters:
    """One upload as Smartech's page "Add Bulk Contact" names it.

    ``path``: the URL of a hosted ``.csv`` that Smartech's servers fetch; ``listid``: the list to add the
    contacts to; ``notifyemail``: who gets an e-mail at completion; ``callback``: the ping-back URL.
    Shows itself without the path's query, the e-mail address and the callback.
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
        """Return the parameters in their proper types.

        :raises SmartechInvalidParameter: one is not what the API takes; the message says what to do.
        """
        return cls(
            path=SecretUrl(_url("path", path, "the full address of a hosted .csv file")),
            listid=None if listid is None else _listid(listid),
            notifyemail=None if notifyemail is None else _notifyemail(notifyemail),
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
        """Return what no log may show."""
        secrets = self.path.secrets()
        if self.callback:
            secrets.append(self.callback.get_secret_value())
        return secrets

    def __repr__(self) -> str:
        return f"{type(self).__name__}(path={str(self.path)!r}, listid={self.listid})"


def _url(parameter: str, value: str | SecretUrl | SecretStr, meaning: str) -> str:
    url = value if isinstance(value, str) else value.get_secret_value()
    if not _is_absolute_http(url):
        shown = f"; got {without_queries(url)[:200]!r}" if parameter == "path" else ""
        raise SmartechInvalidParameter(
            parameter, f"give {meaning}, beginning with https:// or http:// and without blanks{shown}."
        )
    return url


def _is_absolute_http(url: str) -> bool:
    if re.search(r"[\s\x00-\x1f\x7f\\]", url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _listid(value: int | str) -> int:
    digits = value.strip() if isinstance(value, str) else value
    if isinstance(digits, str) and digits.isascii() and digits.isdigit():
        digits = int(digits)
    if isinstance(digits, bool) or not isinstance(digits, int) or digits < 1:
        raise SmartechInvalidParameter(
            "listid", f"give the number of a Smartech list, a positive integer, or None for no list; got {value!r}."
        )
    return digits


def _notifyemail(value: str) -> str:
    if not isinstance(value, str) or not _EMAIL.fullmatch(value):
        raise SmartechInvalidParameter("notifyemail", "give one e-mail address like ops@example.com, or None for none.")
    return value
