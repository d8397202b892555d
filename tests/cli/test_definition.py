"""The arguments of the commands."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_smartech.cli.definition import age, main, states
from airflow_provider_smartech.uploads.overview import MEANINGS, NEED_ATTENTION
from tests.support.commands import BOTH, started


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


def test_states_are_separated_by_commas_and_are_ones_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert states("failed, outcome unknown,attention") == ["failed", "outcome unknown", "attention"]
    assert states("waiting") == ["waiting"]
    for text in ("", ",", "failed,lost"):
        with pytest.raises(SystemExit):
            main(("uploads", f"--state={text}"))
        assert "give one or more of submitting, not accepted," in capsys.readouterr().err


@pytest.mark.parametrize("command", BOTH)
def test_the_help_says_what_each_state_means_and_which_need_attention(command: tuple[str, ...]) -> None:
    done = started("uploads", "--help", command=command)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert [f"{state} {meaning}" for state, meaning in MEANINGS.items() if f"{state} {meaning}" not in lines] == []
    attention = " ".join(lines).partition(" attention ")[2]
    assert all(state in attention for state in NEED_ATTENTION)
