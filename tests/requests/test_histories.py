"""Histories that nobody thought of, in both databases (tests/requests/histories.py says what must hold)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.postgres import Server
from tests.requests.histories import Histories


@pytest.fixture
def files() -> Iterator[Callable[[], str]]:
    """New files, in memory where the system has such a place: what is tried here is not the disk."""
    memory = Path("/dev/shm")
    numbers = count(1)
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as home:
        yield lambda: f"{home}/{next(numbers)}.sqlite"


def _play(place: Callable[[], str], histories: int, steps: int) -> None:
    chosen = settings(
        max_examples=histories,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: Histories(place), settings=chosen)


def test_any_history_in_sqlite(files: Callable[[], str]) -> None:
    _play(files, 20, 20)


def test_any_history_in_postgresql(postgres_server: Server) -> None:
    _play(postgres_server.new_database, 2, 20)


@pytest.mark.slow
def test_ten_thousand_histories(files: Callable[[], str]) -> None:
    _play(files, 10_000, 25)
