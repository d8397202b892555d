"""What the doctor's tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from airflow_provider_smartech.doctor.finding import Finding

Findings = dict[str, Finding]


def by_link(findings: Iterable[Finding]) -> Findings:
    return {finding.link: finding for finding in findings}


def results(findings: Findings) -> dict[str, str]:
    return {link: finding.result.value for link, finding in findings.items()}


@pytest.fixture
def option(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Sets an option of ``[smartech]``."""
    return lambda name, value: monkeypatch.setenv(f"AIRFLOW__SMARTECH__{name.upper()}", value)
