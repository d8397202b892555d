"""What the command ``doctor`` does."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from airflow_provider_smartech.cli.output import agreed, errors_as_messages, log_on_stderr, print_rows, print_text
from airflow_provider_smartech.doctor.chain import Chain
from airflow_provider_smartech.doctor.finding import Finding, Result, are_broken
from airflow_provider_smartech.doctor.first_upload import FirstUpload


@errors_as_messages
def doctor(args: argparse.Namespace) -> None:
    """Examine the chain, and exit with status 1 if a link is broken."""
    chain = Chain(
        smartech_conn_id=args.smartech_conn_id,
        aws_conn_id=args.aws_conn_id,
        s3_bucket=args.s3_bucket,
        s3_prefix=args.s3_prefix,
        upload=_upload(args) if args.upload else None,
    )
    in_lines = args.output not in ("json", "yaml")
    found = []
    for finding in _quietly(chain.walk()):
        found.append(finding)
        if in_lines:
            print_text(finding.text)
    if in_lines:
        print_text(_end(found))
    else:
        print_rows([_fields(finding) for finding in found], args.output)
    if are_broken(found):
        raise SystemExit(1)


def _upload(args: argparse.Namespace) -> FirstUpload:
    return FirstUpload(
        path=args.upload,
        listid=args.listid,
        timeout=timedelta(seconds=args.timeout),
        agree=lambda question: args.yes or agreed(question),
    )


def _quietly(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield findings while everything else that is written, the question included, goes to stderr."""
    while True:
        with log_on_stderr():
            finding = next(findings, None)
        if finding is None:
            return
        yield finding


def _end(found: list[Finding]) -> str:
    if links := are_broken(found):
        return f"Broken: {', '.join(dict.fromkeys(links))}."
    if any(finding.result is Result.NOT_TRIED for finding in found):
        return "Nothing is broken, but not everything was tried."
    return "Nothing is broken."


def _fields(finding: Finding) -> dict[str, Any]:
    return {
        "link": finding.link,
        "result": finding.result.value,
        "seen": finding.seen,
        "advice": finding.advice or None,
        "seconds": None if finding.seconds is None else round(finding.seconds, 3),
        "payload": finding.payload,
    }
