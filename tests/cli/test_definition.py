"""The arguments of the commands."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_smartech.cli.definition import age, main


@pytest.mark.parametrize(("text", "days"), [("30d", 30), ("4w", 28), ("36h", 1.5), (" 1D ", 1)])
def test_an_age_is_given_in_hours_days_or_weeks(text: str, days: float) -> None:
    assert age(text) == timedelta(days=days)


@pytest.mark.parametrize("text", ["", "30", "d", "-3d", "1.5d", "23h", "0d", "1y", "30 days"])
def test_another_age_is_refused_and_so_is_one_whose_uploads_may_be_under_way(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    with pytest.raises(SystemExit):
        main(("purge", f"--older-than={text}", "--yes"))
    assert "--older-than" in capsys.readouterr().err
