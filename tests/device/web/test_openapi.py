"""The API against its own description: schemathesis calls every operation with what fits it and with what does not."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from smartbin.signing import make_key
from tests.device.web.stage import HOST, TOKEN, stage_bin

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

schemathesis.serializer.alias("application/x-tar", "application/octet-stream")

_ENDLESS = ("/api/live", "/api/live.mjpg")
_NEEDS_A_BUNDLE = ("POST /api/model/install", "POST /api/model/upload", "POST /api/model/rollback")
"""What no drawn request can bring about; test_api.py and test_upload.py do."""
_EXAMPLES = 15


@pytest.fixture(scope="module")
def described(tmp_path_factory, tiny_bundle):
    """The description of a bin that wants a token and takes signed bundles, and the headers that it wants."""
    folder = tmp_path_factory.mktemp("fuzzed")
    key = make_key(folder / "private.pem")
    staged = stage_bin(folder, tiny_bundle, token=TOKEN, page={"requests_per_s": 0}, bundles={"public_key": key})
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "127.0.0.1"}
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", staged.app, headers=headers)
    return schema, {**headers, "Origin": HOST}


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.name)
def test_every_answer_is_one_that_the_description_has(described, mode):
    schema, headers = described
    answered: dict[str, Counter[int]] = {}
    for operation in [found.ok() for found in schema.get_all_operations()]:
        if operation.path not in _ENDLESS:
            answered[operation.label] = answers_of(operation, mode, headers)
    assert len(answered) >= 19
    for name, statuses in answered.items():
        assert not [status for status in statuses if status >= 500 and status != 503], (name, statuses)
        if mode is schemathesis.GenerationMode.POSITIVE:
            assert sum(statuses.values()) >= 1, f"{name} was never called"
            assert name in _NEEDS_A_BUNDLE or min(statuses) < 300, f"{name} never did what it is for: {statuses}"
        elif statuses:
            assert max(statuses) >= 400, f"{name} takes everything"


def answers_of(operation, mode, headers) -> Counter[int]:
    """How often an operation answered with which status, each answer held against the description."""
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=_EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
    def call(case, known):
        if known and mode is schemathesis.GenerationMode.POSITIVE and "number" in (case.path_parameters or {}):
            case.path_parameters["number"] = 1  # of all numbers that fit it draws one that is there hardly ever
        statuses[case.call_and_validate(headers=headers).status_code] += 1

    with suppress(Unsatisfiable):  # an operation that takes nothing cannot be called wrongly
        call()
    return statuses


def test_every_operation_says_what_it_does(tmp_path, tiny_bundle):
    document = stage_bin(tmp_path, tiny_bundle, keeps=False).client().get("/api/openapi.json").json()
    operations = [(path, name, told) for path, methods in document["paths"].items() for name, told in methods.items()]
    assert len(operations) >= 16
    assert not [(path, name) for path, name, told in operations if not told.get("description")]
