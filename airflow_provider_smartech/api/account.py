"""A Smartech account, as a connection describes it."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import re
import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from airflow_provider_smartech.api.data_centres import ACCOUNT_NAME, DATA_CENTRES
from airflow_provider_smartech.api.parameters import checked_listid, checked_notifyemail
from airflow_provider_smartech.errors import SmartechConfigurationError, SmartechInvalidParameter

log = logging.getLogger(__name__)

PRIVATE_NETWORKS = [
    ipaddress.ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
]


@dataclass(frozen=True, kw_only=True)
class Account:
    """The address and the credentials for Smartech's API.

    ``url``: address of the call; ``api_key``: its key; ``idc``: the data centre; ``name``: the account's name in the
    connection; ``listid`` and ``notifyemail``: defaults for uploads without their own; ``panel_url``: address of the
    account's panel.
    """

    url: str
    api_key: str = field(repr=False)
    idc: str
    name: str | None = None
    listid: int | None = None
    notifyemail: str | None = field(default=None, repr=False)
    panel_url: str | None = None

    @property
    def host(self) -> str:
        """The host of the address."""
        return urlsplit(self.url).hostname or ""

    @property
    def identity(self) -> str:
        """What distinguishes accounts without showing a key: a hash of the address, keyed with the API key."""
        return hmac.new(self.api_key.encode(), self.url.encode(), "sha256").hexdigest()[:32]

    @classmethod
    def of(cls, name: str, *, api_key: str | None, host: str | None, extra: Any) -> Account:
        """Read a connection.

        :param name: the connection's id.
        :param api_key: its password.
        :param host: a base URL instead of the data centre's; empty or None for the data centre's.
        :param extra: its extra, decoded.
        :raises SmartechConfigurationError: it cannot be used; the message says which part is wrong.
        """
        extra = extra or {}
        if not isinstance(extra, dict):
            raise SmartechConfigurationError(f"Connection {name!r}: its extra must be a JSON object, or empty.")
        if not api_key:
            raise SmartechConfigurationError(
                f"Connection {name!r} has no API key. Put it into the password field; Smartech shows it in its panel "
                "under Admin, Sub Admin, Edit on your user name."
            )
        idc = str(extra.get("idc") or "us").strip().lower()
        if idc not in DATA_CENTRES:
            raise SmartechConfigurationError(
                f"Connection {name!r} has the unknown IDC {idc!r}; choose one of {', '.join(DATA_CENTRES)}."
            )
        return cls(
            url=_overriding_url(name, host) if host else DATA_CENTRES[idc].url,
            api_key=api_key,
            idc=idc,
            name=_account_name(name, extra.get("account")),
            listid=_default(name, checked_listid, extra.get("listid")),
            notifyemail=_default(name, checked_notifyemail, extra.get("notifyemail")),
            panel_url=_panel_url(name, extra.get("panel_url")),
        )


def _default(conn_id: str, check: Any, value: Any) -> Any:
    # The form stores a cleared field as an empty text.
    value = value.strip() if isinstance(value, str) else value
    if value is None or value == "":
        return None
    try:
        return check(value)
    except SmartechInvalidParameter as error:
        reason = str(error)
    raise SmartechConfigurationError(f"Connection {conn_id!r} has a default that cannot be used: {reason}")


def _account_name(conn_id: str, value: Any) -> str | None:
    text = str(value or "").strip()
    if text and not ACCOUNT_NAME.fullmatch(text):
        raise SmartechConfigurationError(
            f"Connection {conn_id!r}: account must be a short name of letters, digits, '-' and '_', such as retail-eu."
        )
    return text or None


def _panel_url(conn_id: str, value: Any) -> str | None:
    if not value:
        return None
    if isinstance(value, str) and re.fullmatch(r"https?://[^\s@/?#]+([/?#]\S*)?", value.strip()):
        return value.strip()
    log.warning(
        "Connection %r: panel_url must be an https:// address without a login; there is no link to the panel.", conn_id
    )
    return None


def _overriding_url(conn_id: str, host: str) -> str:
    try:
        parts = urlsplit(host)
        scheme, name, _ = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, name = "", None
    is_clear = bool(name) and not parts.query and not parts.fragment and "@" not in parts.netloc
    if scheme not in ("http", "https") or not is_clear or not _is_host(str(name)):
        raise SmartechConfigurationError(
            f"Connection {conn_id!r}: the host must be a full base URL such as {DATA_CENTRES['us'].url}, "
            "without login or query."
        )
    if scheme == "http" and not leads_to_private_network(str(name)):
        raise SmartechConfigurationError(
            f"Connection {conn_id!r}: plain http:// to {name} would expose the API key on the network; use "
            "https://. Plain http is allowed only for a loopback or private address."
        )
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") or "/apiv2"))


def _is_host(name: str) -> bool:
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return re.fullmatch(r"[\w.:-]+", name) is not None


def leads_to_private_network(host: str) -> bool:
    """Whether all addresses of a host, as this machine finds them, are loopback or private."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    return bool(addresses) and all(map(_is_private_address, addresses))


def _is_private_address(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return any(address in network for network in PRIVATE_NETWORKS)


def is_out_of_reach(callback_host: str, host: str) -> bool:
    """Whether Smartech at this host can surely not reach the callback's host: only one of them is on the internet."""
    return is_internal(callback_host) and not is_internal(host)


def is_internal(host: str) -> bool:
    """Whether a host can surely not be reached from the internet, as far as its name or literal address shows."""
    try:
        return _is_private_address(host)
    except ValueError:
        return "." not in host or host.endswith(".localhost")
