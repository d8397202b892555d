"""The CloudFormation template of the Lambda function; that its role's rights are enough is tested in test_receivers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from cfnlint.api import lint_file

from tests.support.aws_template import FILE, Template
from tests.support.policed_s3 import PolicedS3

# Nothing of it depends on Airflow.
pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]


def test_cfn_lint_finds_nothing() -> None:
    assert [str(problem) for problem in lint_file(FILE)] == []


def test_anybody_may_call_the_function_by_its_url_and_in_no_other_way() -> None:
    template = Template()
    assert template.properties("Url")["AuthType"] == "NONE"
    given = [template.properties(name) for name in template.of_type("AWS::Lambda::Permission")]
    common = {"FunctionName": "Function", "Principal": "*"}
    assert given == [
        {**common, "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
        {**common, "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
    ]


def test_calls_at_a_time_are_limited_and_the_log_expires() -> None:
    template = Template()
    assert template.properties("Function")["ReservedConcurrentExecutions"] == 10
    assert template.properties("Function")["LoggingConfig"]["LogGroup"] == "Log"
    assert template.properties("Log")["RetentionInDays"] == 30


@pytest.mark.parametrize(("topic", "actions"), [("", "AWS::NoValue"), ("arn:aws:sns:x", ["arn:aws:sns:x"])])
def test_pingbacks_that_were_not_kept_raise_an_alarm(topic: str, actions: object) -> None:
    template = Template(AlarmTopic=topic)
    alarms = [template.properties(name) for name in template.of_type("AWS::CloudWatch::Alarm")]
    assert [alarm["MetricName"] for alarm in alarms] == ["Url5xxCount", "Throttles"]
    assert [alarm["AlarmActions"] for alarm in alarms] == [actions] * 2
    assert [alarm["Dimensions"] for alarm in alarms] == [[{"Name": "FunctionName", "Value": "Function"}]] * 2


def test_it_runs_what_make_lambda_makes() -> None:
    function = Template().properties("Function")
    made = re.search(r"^LAMBDA \?= (\S+)-(\S+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert made
    assert (function["Runtime"], function["Architectures"]) == (f"python{made[1]}", [made[2]])


def test_the_role_may_write_only_its_own_log() -> None:
    [statement] = Template().policy("log")
    assert statement["Resource"] == "Log.Arn"
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]


@pytest.fixture
def role(bucket: str) -> Iterator[Any]:
    """A client of S3 that may do what the template allows."""
    with PolicedS3(Template(StoreBucket=bucket, StorePrefix="team/smartech").policy("store")) as policed:
        keys = {"aws_access_key_id": "role", "aws_secret_access_key": "role-secret", "region_name": "us-east-1"}
        yield boto3.client("s3", endpoint_url=f"http://127.0.0.1:{policed.port}", **keys)


DAY = "team/smartech/uploads/20260101"
RECORD = f"{DAY}/20260101T000000-{'a' * 40}/record.json"
ALLOWED: list[Callable[[Any, str], Any]] = [
    lambda s3, bucket: s3.get_object(Bucket=bucket, Key=RECORD),
    lambda s3, bucket: s3.put_object(Bucket=bucket, Key=RECORD.replace("record", "pingback-1"), Body=b""),
    lambda s3, bucket: s3.get_object(Bucket=bucket, Key="team/smartech/probes/probe-1/record.json"),
    lambda s3, bucket: s3.put_object(Bucket=bucket, Key="team/smartech/probes/probe-1/pingback-1.json", Body=b""),
    lambda s3, bucket: s3.put_object(Bucket=bucket, Key="team/smartech/arrivals/1", Body=b""),
    lambda s3, bucket: s3.get_object(Bucket=bucket, Key="team/smartech/arrivals/2"),
]
REFUSED: list[Callable[[Any, str], Any]] = [
    lambda s3, bucket: s3.put_object(Bucket=bucket, Key=RECORD, Body=b""),
    lambda s3, bucket: s3.put_object(Bucket=bucket, Key=RECORD.replace("record", "conclusion-1"), Body=b""),
    lambda s3, bucket: s3.put_object(Bucket=bucket, Key="team/smartech/tasks/1/1", Body=b""),
    lambda s3, bucket: s3.get_object(Bucket=bucket, Key=RECORD.replace("record", "answer-1")),
    lambda s3, bucket: s3.get_object(Bucket=bucket, Key="team/smartech/stagings/1/1.json"),
    lambda s3, bucket: s3.get_object(Bucket=bucket, Key=RECORD.removeprefix("team/")),
    lambda s3, bucket: s3.get_object(Bucket=f"{bucket}2", Key=RECORD),
    lambda s3, bucket: s3.delete_object(Bucket=bucket, Key=RECORD),
    lambda s3, bucket: s3.list_objects_v2(Bucket=bucket),
    lambda s3, bucket: s3.list_objects_v2(Bucket=bucket, Prefix="team/"),
    lambda s3, _: s3.list_buckets(),
]


@pytest.mark.parametrize("call", ALLOWED)
def test_the_role_may_do_what_the_receiver_does(
    role: Any, s3: Any, bucket: str, call: Callable[[Any, str], Any]
) -> None:
    for key in (RECORD, "team/smartech/probes/probe-1/record.json", "team/smartech/arrivals/2"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
    assert call(role, bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize("call", REFUSED)
def test_the_role_may_do_nothing_else(role: Any, bucket: str, call: Callable[[Any, str], Any]) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        call(role, bucket)
