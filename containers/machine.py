"""The machine: where its packages come from, and what a Docker daemon would leave on it."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from containers.client import DockerError, run

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
CGROUPS = Path("/sys/fs/cgroup")


def cache() -> Path:
    """Return the folder for what is kept between runs."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "airflow-provider-smartech")


def debian_release() -> str:
    """Return the name of the release of Debian that this machine has."""
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def debian_mirror() -> str:
    """Return the URL that this machine installs Debian's packages from.

    :raises DockerError: it has none.
    """
    release = f"Codename: {debian_release()}"
    found = run("apt-get", "indextargets", "--format=$(REPO_URI)", "Created-By: Packages", "Component: main", release)
    if not found:
        raise DockerError("apt-get knows no packages: run apt-get update")
    return found.split()[0]


def package_settings() -> dict[str, str]:
    """Return files, by their paths, with which an image installs Python packages from where this machine does."""
    pip, uv = f"[global]\ncert = {CERTIFICATES}\n", "native-tls = true\n"
    if index := _python_index():
        pip += f"index-url = {index}\n"
        uv += f'index-url = "{index}"\n'
    return {
        "etc/pip.conf": pip,
        "etc/uv/uv.toml": uv,
        str(CERTIFICATES.relative_to("/")): CERTIFICATES.read_text("utf-8"),
        # An image is used only when it is complete: Debian's packages need not be on the disk before that.
        "etc/dpkg/dpkg.cfg.d/unsafe-io": "force-unsafe-io\n",
    }


def _python_index() -> str | None:
    """Return the URL of the index that pip is configured with, if it is not the usual one."""
    found = re.findall(r"^\S+\.index-url='(.*)'$", run(sys.executable, "-m", "pip", "config", "list"), re.MULTILINE)
    return found[-1] if found else None


@contextmanager
def network_kept() -> Iterator[None]:
    """Take away what a Docker daemon adds to the network: firewall rules, bridges, forwarding."""
    rules = "".join(run("iptables-save", "--table", table) for table in ("filter", "nat"))
    bridges, forwarding = _bridges(), FORWARDING.read_text("ascii")
    try:
        yield
    finally:
        for bridge in _bridges() - bridges:
            run("ip", "link", "delete", bridge)
        run("iptables-restore", stdin=rules)
        FORWARDING.write_text(forwarding, "ascii")


def _bridges() -> set[str]:
    return {line.split()[0] for line in run("ip", "-brief", "link", "show", "type", "bridge").splitlines()}


def remove_cgroups() -> None:
    """Remove the control groups of a Docker daemon that has ended."""
    for group in [CGROUPS / "docker", *CGROUPS.glob("*/docker")]:
        # There are still containers in it, so it is another daemon's.
        with suppress(OSError):
            group.rmdir()


def remove(folder: Path) -> None:
    """Remove a folder, and first what is mounted below it."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    for mount in sorted((mount for mount in mounts if Path(mount).is_relative_to(folder)), reverse=True):
        run("umount", mount)
    run("rm", "--recursive", "--force", "--one-file-system", folder)
