"""The table and the plot of a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench.pipelines import PIPELINES

FOLDER = Path(__file__).parent
UNITS = {"seconds": "seconds", "peak_mb": "peak MB"}
OWN = ("copy_psycopg2", "copy_psycopg", "arrow_adbc", "rows_psycopg2")

Runs = dict[tuple[str, int], list[dict[str, float]]]


def write(runs: Runs, rows: list[int], machine: dict[str, Any]) -> None:
    """Write ``transfers.md`` and ``transfers.png``, and print the table."""
    rounds = max(map(len, runs.values()))
    text = "\n".join(
        [
            "# From PostgreSQL to S3",
            "",
            f"Made by `make bench` on {datetime.now(UTC):%Y-%m-%d}, in one run on {machine['cores']} cores, which "
            f"PostgreSQL and the stand-in for S3 share. Medians of {rounds} rounds with {min(rows):,} rows; larger "
            "tables ran once. Seconds are for the pipeline itself, without imports; MB are the peak memory of its "
            "whole process, including Airflow. SqlToSmartechOperator also checks the primary key of each row.",
            "",
            f"Python {machine['python']}, {machine['versions']}.",
            "",
            *_table(runs, rows),
            "",
            "![plot](transfers.png)",
            "",
            "## Ratios",
            "",
            f"The wanted values are this project's own goals. With {min(rows):,} rows, each value is the median of the "
            "ratios of the rounds, so that slow minutes of the machine do not matter.",
            "",
            *_ratios(runs, rows),
            "",
        ]
    )
    (FOLDER / "transfers.md").write_text(text, "utf-8")
    print(f"\n{text}")
    _plot(runs, min(rows))


def _median(runs: Runs, pipeline: str, rows: int, what: str) -> float:
    return median(run[what] for run in runs[pipeline, rows])


def _table(runs: Runs, rows: list[int]) -> list[str]:
    columns = [f"{name}, {count / 1e6:g}M rows" for count in rows for name in ("seconds", "CPU s", "peak MB")]
    lines = [f"| pipeline | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for pipeline in PIPELINES:
        cells = []
        for count in rows:
            if (pipeline.__name__, count) in runs:
                seconds, cpu, peak = (
                    _median(runs, pipeline.__name__, count, what) for what in ("seconds", "cpu", "peak_mb")
                )
                cells += [f"{seconds:.2f}", f"{cpu:.2f}", f"{peak:.0f}"]
        if cells:
            lines.append(f"| {_label(pipeline)} | {' | '.join(cells)} |")
    return lines


def _label(pipeline: Callable[[str], None]) -> str:
    return (pipeline.__doc__ or pipeline.__name__).rstrip(".")


def _name(pipeline: str) -> str:
    return _label(next(known for known in PIPELINES if known.__name__ == pipeline))


def _ratios(runs: Runs, rows: list[int]) -> list[str]:
    small, large = min(rows), max(rows)
    wanted = [
        ("copy_psycopg2", "bare_psycopg2", "seconds", "at most 1.25"),
        ("copy_psycopg", "bare_psycopg", "seconds", "at most 1.25"),
        ("sql_to_s3_pandas", "copy_psycopg2", "seconds", "at least 5"),
        ("sql_to_s3_pandas", "copy_psycopg", "seconds", "at least 5"),
        ("copy_psycopg2", "sql_to_s3_pandas", "peak_mb", "at most 0.10"),
        ("copy_psycopg", "sql_to_s3_pandas", "peak_mb", "at most 0.10"),
        ("sql_to_s3_pandas", "rows_psycopg2", "seconds", "at least 1.6"),
    ]
    lines = ["| what | wanted | measured |", "| --- | ---: | ---: |"]
    for one, other, what, bound in wanted:
        if (one, small) in runs and (other, small) in runs:
            pairs = zip(runs[one, small], runs[other, small], strict=True)
            ratio = median(a[what] / b[what] for a, b in pairs)
            lines.append(f"| {UNITS[what]}: {_name(one)} / {_name(other)} | {bound} | {ratio:.3g} |")
    for pipeline in OWN:
        if large != small and (pipeline, large) in runs and (pipeline, small) in runs:
            grown = _median(runs, pipeline, large, "peak_mb") / _median(runs, pipeline, small, "peak_mb")
            lines.append(f"| peak MB: {_name(pipeline)}, {large:,} / {small:,} rows | at most 1.10 | {grown:.2f} |")
    return lines


def _plot(runs: Runs, rows: int) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    pipelines = [pipeline for pipeline in PIPELINES if (pipeline.__name__, rows) in runs][::-1]
    colours = ["#e8702a" if pipeline.__name__ in OWN else "#8a97a6" for pipeline in pipelines]
    figure, panels = pyplot.subplots(1, 2, figsize=(13, 4.6), sharey=True, layout="constrained")
    for axes, what, title in zip(panels, ("seconds", "peak_mb"), ("seconds", "peak memory, MB"), strict=True):
        values = [_median(runs, pipeline.__name__, rows, what) for pipeline in pipelines]
        bars = axes.barh([_label(pipeline) for pipeline in pipelines], values, color=colours)
        axes.bar_label(bars, [f"{value:.1f}" if what == "seconds" else f"{value:.0f}" for value in values], padding=3)
        axes.set_xlabel(title)
        axes.margins(x=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{rows:,} contacts from PostgreSQL to S3 (orange: this provider)")
    figure.savefig(FOLDER / "transfers.png", dpi=110)
