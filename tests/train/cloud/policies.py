"""What is asked of the template's IAM policies: nothing broad, and what a role may really do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

Statement = Mapping[str, Any]

NEEDS_ANY_RESOURCE = {
    "BeReachedThroughSessionManager": {
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    }
}
"""Statements that may say `Resource: "*"`, and their actions: these take no resource (AWS's own minimum for Session
Manager says so)."""
_IDENTIFIER = ":autoScalingGroup:*:autoScalingGroupName/"
"""The only `*` inside of a resource: an identifier that AWS chooses; the name behind it is whole."""


def listed(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def too_broad(statements: Sequence[Statement]) -> list[str]:
    """What in these statements allows more than it must; empty when all is well."""
    problems = []
    for statement in statements:
        name = statement.get("Sid", "no Sid")
        if statement["Effect"] != "Allow":
            continue
        actions = listed(statement["Action"]) if "Action" in statement else []
        if not actions:
            problems.append(f"{name}: NotAction")
        problems += [f"{name}: action {action}" for action in actions if "*" in action]
        for resource in listed(statement.get("Resource", "*")):
            if resource == "*":
                if set(actions) != NEEDS_ANY_RESOURCE.get(name):
                    problems.append(f"{name}: any resource")
            elif "*" in resource.replace(_IDENTIFIER, "").removesuffix("/*"):
                problems.append(f"{name}: resource {resource}")
            elif resource.startswith("arn:aws:s3:::") and resource.count("/") == 1 and resource.endswith("/*"):
                problems.append(f"{name}: the whole bucket")
    return problems


def allows(statements: Sequence[Statement], action: str, resource: str, **context: str) -> bool:
    """Whether the statements, which must be Allow only, let `action` happen on `resource`.

    `context` holds the condition keys, with `_` for `:` and `-`.
    """
    return any(
        action in listed(statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in listed(statement["Resource"]))
        and all(
            any(fnmatchcase(context.get(key.replace(":", "_").replace("-", "_"), ""), text) for text in listed(wanted))
            for operator in statement.get("Condition", {}).values()
            for key, wanted in operator.items()
        )
        for statement in statements
    )
