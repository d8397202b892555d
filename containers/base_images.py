"""The images that docker-compose.yaml pins: those that the daemon has, or stand-ins made of Debian's packages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from containers.client import Docker, run
from containers.machine import cache, debian_mirror, debian_release, package_settings, remove
from containers.progress import say, step

DOCKERFILES = Path(__file__).parent / "base"
STAND_IN = "smartech-stand-in"
DEBIAN = f"{STAND_IN}/debian"


def pinned_images(root: Path) -> list[str]:
    """Return the images that a source tree pins: in docker-compose.yaml, and in the Dockerfiles that it builds."""
    services = _services(root)
    bases = {base for service in services if "build" in service for base in _bases(root, service["build"])}
    return sorted(bases | {service["image"] for service in services} - set(_built(root)))


def _built(root: Path) -> list[str]:
    return sorted({service["image"] for service in _services(root) if "build" in service})


def _services(root: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load((root / "docker-compose.yaml").read_text("utf-8"))["services"].values())


def _bases(root: Path, build: str | dict[str, str]) -> list[str]:
    fields = {"context": build} if isinstance(build, str) else build
    dockerfile = root / fields["context"] / fields.get("dockerfile", "Dockerfile")
    return re.findall(r"^FROM (\S+)", dockerfile.read_text("utf-8"), re.MULTILINE)


@contextmanager
def base_images(docker: Docker, root: Path) -> Iterator[None]:
    """Let the daemon have the images that a source tree pins; no stand-in is left in a daemon that is not ours."""
    images = pinned_images(root)
    missing = [image for image in images if not docker.has(image)]
    for image in images:
        say(f"{image}: {'a stand-in' if image in missing else 'the image that the daemon has'}")
    try:
        if missing:
            _load(docker, images)
        for image in missing:
            docker.run("tag", _stand_in(image), image)
        yield
    finally:
        if missing and not docker.is_ours:
            made = [*_built(root), *missing, *map(_stand_in, images), DEBIAN]
            docker.run("image", "rm", "--force", *(image for image in made if docker.has(image)))


def _load(docker: Docker, images: list[str]) -> None:
    """Load the stand-ins from the cache, or build them."""
    settings = package_settings()
    made_of = [*images, debian_release(), debian_mirror(), *settings.values()]
    made_of += [file.read_text("utf-8") for file in sorted(DOCKERFILES.iterdir())]
    archive = cache() / f"images-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]}.tar"
    if archive.exists():
        with step("loading the stand-ins from the cache"):
            docker.run("load", "--input", archive)
        return
    with step("making a tree of Debian"):
        _import_debian(docker, settings)
    with step("building the stand-ins"), ThreadPoolExecutor() as threads:
        list(threads.map(lambda image: _build(docker, image), images))
    with step("saving the stand-ins in the cache"):
        _save(docker, images, archive)


def _import_debian(docker: Docker, settings: dict[str, str]) -> None:
    """Make an image of Debian's base system, which installs packages from where this machine does."""
    tree = cache() / "tree"
    remove(tree)
    try:
        run("debootstrap", "--variant=minbase", "--include=ca-certificates", debian_release(), tree, debian_mirror())
        for name, text in settings.items():
            (tree / name).parent.mkdir(exist_ok=True)
            (tree / name).write_text(text, "utf-8")
        run("tar", "--directory", tree, "--create", "--file", tree.with_suffix(".tar"), ".")
        docker.run("import", tree.with_suffix(".tar"), DEBIAN)
    finally:
        remove(tree)
        tree.with_suffix(".tar").unlink(missing_ok=True)


def _build(docker: Docker, image: str) -> None:
    name, _, tag = image.rpartition("/")[2].partition(":")
    version = re.match(r"[\d.]*", tag)
    with step(f"building the stand-in of {image}"):
        docker.run(
            *("build", "--tag", _stand_in(image), "--file", DOCKERFILES / f"{name}.Dockerfile"),
            *("--build-arg", f"VERSION={version[0] if version else ''}", DOCKERFILES),
        )


def _stand_in(image: str) -> str:
    return f"{STAND_IN}/{image.rpartition('/')[2].partition(':')[0]}"


def _save(docker: Docker, images: list[str], archive: Path) -> None:
    """Save the stand-ins; those of other sources or of another machine's settings are not needed any more."""
    unfinished = archive.with_suffix(".unfinished")
    docker.run("save", "--output", unfinished, *map(_stand_in, images))
    for old in archive.parent.glob("images-*.tar"):
        old.unlink()
    unfinished.rename(archive)
