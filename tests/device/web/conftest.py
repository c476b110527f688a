"""The staged bin as a fixture."""

from __future__ import annotations

import re

import pytest

from tests.device.web.stage import TOKEN, StagedBin, stage_bin


@pytest.fixture
def staged(tmp_path, tiny_bundle) -> StagedBin:
    """A bin whose page is open, as on its own machine."""
    return stage_bin(tmp_path, tiny_bundle)


@pytest.fixture
def locked(tmp_path, tiny_bundle) -> StagedBin:
    """A bin whose page wants a token."""
    return stage_bin(tmp_path, tiny_bundle, token=TOKEN)


def proof_in(html: str) -> str:
    """The proof that a page's forms send back."""
    found = re.search(r'name="proof" value="([0-9a-f]{64})"', html)
    assert found, "the page has no form"
    return found[1]
