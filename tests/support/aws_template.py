"""The CloudFormation template of the Lambda function, with the values that a stack would have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cfnlint.decode import decode

FILE = Path(__file__).parents[2] / "deploy" / "aws" / "template.yaml"


class Template:
    """The template with some parameters given; its resources' properties are without intrinsic functions.

    :param parameters: those that have no default, and others.
    """

    def __init__(self, **parameters: str) -> None:
        document, problems = decode(str(FILE))
        assert not problems, problems
        self.document: dict[str, Any] = document
        defaults = {name: one["Default"] for name, one in document["Parameters"].items() if "Default" in one}
        self._values: dict[str, Any] = {"AWS::Partition": "aws", **defaults, **parameters}

    def properties(self, name: str) -> dict[str, Any]:
        """Return the properties of a resource; a reference to another resource is that one's name."""
        resolved: dict[str, Any] = self._resolved(self.document["Resources"][name]["Properties"])
        return resolved

    def policy(self, name: str) -> list[dict[str, Any]]:
        """Return the statements of a policy of the function's role."""
        policies = {one["PolicyName"]: one["PolicyDocument"] for one in self.properties("Role")["Policies"]}
        statements: list[dict[str, Any]] = policies[name]["Statement"]
        return statements

    def of_type(self, kind: str) -> list[str]:
        """Return the names of the resources of a type."""
        return [name for name, one in self.document["Resources"].items() if one["Type"] == kind]

    def _resolved(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._resolved(one) for one in node]
        if not isinstance(node, dict):
            return node
        match list(node.items()):
            case [("Ref", name)]:
                return self._values.get(name, name)
            case [("Fn::Sub", str(text))]:
                return re.sub(r"\$\{([\w:.]+)\}", lambda found: str(self._values.get(found[1], found[1])), text)
            case [("Fn::GetAtt", parts)]:
                return ".".join(parts) if isinstance(parts, list) else parts
            case [("Fn::If", [condition, yes, no])]:
                assert condition == "HasTopic"
                return self._resolved(yes if self._values["AlarmTopic"] else no)
        return {key: self._resolved(value) for key, value in node.items()}
