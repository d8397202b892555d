"""What no linter sees of the workflows and of the files about the project: that they fit to the rest of it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import airflow_provider_smartech

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WITH_ADDRESSES = ["pyproject.toml", "SECURITY.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "docs/publishing.md"]
WITH_ADDRESSES += [f".github/ISSUE_TEMPLATE/{name}.yml" for name in ("bug", "config")]


def jobs(workflow: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / ".github" / "workflows" / f"{workflow}.yml").read_text("utf-8"))["jobs"])


def scripts() -> Iterator[str]:
    for path in WORKFLOWS:
        for job in jobs(path.stem).values():
            yield from (step["run"] for step in job["steps"] if "run" in step)


def test_the_workflows_call_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    called = {target for script in scripts() for target in re.findall(r"^make ([\w-]+)", script, re.MULTILINE)}
    assert called - targets == set()
    assert called >= {"check", "lint", "docs", "test", "test-pip", "test-cluster", "test-docker", "build", "audit"}


def test_the_workflow_tests_each_airflow_that_ci_run_tests_and_the_lowest_that_the_package_allows() -> None:
    (lowest,) = re.findall(r"'apache-airflow>=([\d.]+)'", str(PROJECT["dependencies"]))
    run = set(re.findall(r"AIRFLOW=([\d.]+)", (ROOT / ".ci" / "run").read_text("utf-8")))
    assert set(jobs("ci")["tests"]["strategy"]["matrix"]["airflow"]) == {lowest, *run}


def test_the_workflow_tests_each_python_that_the_package_names() -> None:
    named = re.findall(r"Python :: (\d\.\d+)", str(PROJECT["classifiers"]))
    assert jobs("ci")["tests"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


@pytest.mark.parametrize("page", WITH_ADDRESSES)
def test_every_address_of_the_project_is_the_one_in_pyproject(page: str) -> None:
    owner = PROJECT["urls"]["Source"].removeprefix("https://github.com/").partition("/")[0]
    name = PROJECT["name"]
    text = (ROOT / page).read_text("utf-8")
    assert set(re.findall(rf"github\.com/[\w-]+/{name}", text)) == {f"github.com/{owner}/{name}"}
    assert set(re.findall(rf"https://[\w-]+\.github\.io/{name}/", text)) <= {PROJECT["urls"]["Documentation"]}


@pytest.mark.parametrize(
    ("tag", "heading", "passes"),
    [
        ("v1.2.0", "## 1.2.0, 2026-12-01", True),
        ("1.2.0", "## 1.2.0, 2026-12-01", False),
        ("v1.2.1", "## 1.2.0, 2026-12-01", False),
        ("v1.2.0", "## 1.2.0, unreleased", False),
        ("v1.2.0", "## 1.2.1, 2026-12-01", False),
    ],
)
def test_only_the_tag_of_a_dated_version_is_released(tmp_path: Path, tag: str, heading: str, passes: bool) -> None:
    (step,) = [step for step in jobs("release")["build"]["steps"] if "TAG" in step.get("env", {})]
    (tmp_path / "airflow_provider_smartech").mkdir()
    (tmp_path / "airflow_provider_smartech" / "__init__.py").write_text('"""It."""\n\n__version__ = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(f"# Changes\n\n{heading}\n\n- It.\n")
    # As GitHub runs it.
    command = ["bash", "--noprofile", "--norc", "-e", "-c", step["run"]]
    done = subprocess.run(command, cwd=tmp_path, env={"TAG": tag, "PATH": "/usr/bin:/bin"}, check=False)
    assert (done.returncode == 0) is passes


def test_the_version_is_written_as_the_release_reads_it() -> None:
    text = Path(airflow_provider_smartech.__file__).read_text("utf-8")
    assert re.findall(r'^__version__ = "(.*)"$', text, re.MULTILINE) == [airflow_provider_smartech.__version__]
