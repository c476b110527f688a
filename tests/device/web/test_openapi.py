"""The API against its own description: schemathesis calls every operation with what fits it and with what does not."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from tests.device.web.stage import HOST, TOKEN, stage_bin

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

schemathesis.serializer.alias("application/x-tar", "application/octet-stream")

_ENDLESS = ("/api/live", "/api/live.mjpg")
_EXAMPLES = 15


@pytest.fixture(scope="module")
def described(tmp_path_factory, tiny_bundle):
    """The description of a bin that wants a token, and the headers that it wants."""
    staged = stage_bin(tmp_path_factory.mktemp("fuzzed"), tiny_bundle, token=TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "127.0.0.1"}
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", staged.app, headers=headers)
    return schema, {**headers, "Origin": HOST}


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.name)
def test_every_answer_is_one_that_the_description_has(described, mode):
    schema, headers = described
    operations = [found.ok() for found in schema.get_all_operations()]
    called = 0
    for operation in operations:
        if operation.path in _ENDLESS:
            continue

        @settings(
            max_examples=_EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def call(case):
            nonlocal called
            called += 1
            case.call_and_validate(headers=headers)

        with suppress(Unsatisfiable):  # an operation that takes nothing cannot be called wrongly
            call()
    assert len(operations) >= 16
    assert called > _EXAMPLES


def test_every_operation_says_what_it_does(tmp_path, tiny_bundle):
    document = stage_bin(tmp_path, tiny_bundle, keeps=False).client().get("/api/openapi.json").json()
    operations = [(path, name, told) for path, methods in document["paths"].items() for name, told in methods.items()]
    assert len(operations) >= 16
    assert not [(path, name) for path, name, told in operations if not told.get("description")]
