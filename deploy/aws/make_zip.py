"""Makes the zip of the Lambda function, from this package's wheel and what the receiver needs: ``make lambda`` runs it.

The same wheels make the same bytes: files are sorted, and have the same time and no compiled copies.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[1] / "receiver" / "requirements.txt"
# Lambda itself is the server.
NEEDLESS = "uvicorn"
# boto3 describes hundreds of services; of these files, a client of S3 reads only its own and those of no service.
DESCRIPTIONS = ("botocore/data/", "boto3/data/")
# Names where the package was built, and differ from build to build.
DROPPED = ("direct_url.json", "RECORD", "REQUESTED", "INSTALLER")
TIME = (2020, 1, 1, 0, 0, 0)


def main() -> None:
    """Make the zip for one version of Python and one kind of processor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", help="such as 3.13-x86_64 or 3.13-arm64")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("zip", type=Path)
    options = parser.parse_args()
    version, _, processor = options.target.partition("-")
    processor = {"arm64": "aarch64"}.get(processor, processor)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [line for line in REQUIREMENTS.read_text("utf-8").splitlines() if not line.startswith(NEEDLESS)]
        (folder / "requirements.txt").write_text("\n".join(lines), "utf-8")
        # Lambda's Linux has glibc 2.34: of a package with older and newer wheels, pip takes the newest of these.
        platforms = [f"--platform=manylinux_2_{minor}_{processor}" for minor in (34, 28, 17)]
        found = [f"--python-version={version}", "--implementation=cp", *platforms, "--only-binary=:all:"]
        _install(folder / "all", *found, "-r", str(folder / "requirements.txt"))
        _install(folder / "all", "--no-deps", str(options.wheel))
        write(folder / "all", options.zip)


def _install(folder: Path, *arguments: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, f"--target={folder}", *arguments], check=True)  # noqa: S603


def write(folder: Path, target: Path) -> None:
    """Write a folder's files that the function needs, in the same way each time."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in needed(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), TIME)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, path.read_bytes())


def needed(folder: Path) -> Iterator[Path]:
    """Yield what goes into the zip."""
    for path in sorted(folder.rglob("*"), key=Path.as_posix):
        name = path.relative_to(folder).as_posix()
        of_a_service = name.startswith(DESCRIPTIONS) and name.count("/") > DESCRIPTIONS[0].count("/")
        is_dropped = path.name in DROPPED or name.startswith("bin/") or "__pycache__" in name
        if path.is_file() and not is_dropped and not (of_a_service and "/s3/" not in name):
            yield path


if __name__ == "__main__":
    main()
