"""The campaign that every test of this folder counts in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.registry import Campaign


@pytest.fixture(scope="session")
def campaign() -> Iterator[Campaign]:
    counted = Campaign()
    yield counted
    counted.keep()
