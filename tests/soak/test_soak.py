"""A line over many weeks, with what goes wrong in them: two of bytes in every run of the tests, eight of models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def _soaked(repository: Path, home: Path, *words: str) -> dict[str, Any]:
    found = home / "soak.json"
    command = [sys.executable, "-m", "tests.soak", "--home", str(home / "soak"), "--results", str(found), *words]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    told: dict[str, Any] = json.loads(found.read_text())
    return told


def _verdicts(told: dict[str, Any]) -> list[list[str]]:
    return [[batch["verdict"] for batch in week["batches"]] for week in told["weeks"]]


def test_two_weeks_with_a_kill_each_end_as_they_must(repository: Path, tmp_path: Path) -> None:
    told = _soaked(repository, tmp_path, "--toy", "--weeks", "2")
    assert _verdicts(told) == [["issued"], ["issued"], []]
    assert [week["champion"] for week in told["weeks"]] == [1, 2, 2]
    assert told["kills"] == 2
    assert told["weeks"][1]["waiting"] == 0
    assert [[one["status"] for one in week["purges"]] for week in told["weeks"]] == [[], ["complete"], ["complete"]]


@pytest.mark.slow
def test_eight_weeks_of_real_models_end_as_they_must(repository: Path, tmp_path: Path) -> None:
    told = _soaked(repository, tmp_path)
    verdicts = [verdict for week in _verdicts(told) for verdict in week]
    assert {"issued", "refused", "no input"} <= set(verdicts)
    assert told["kills"] >= 8
    assert len(told["weeks"]) == 9
    assert [week["rolled_back_to"] for week in told["weeks"]].count(None) == 8
    assert {one["status"] for week in told["weeks"] for one in week["purges"]} == {"complete", "partial"}
