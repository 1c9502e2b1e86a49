"""Killed at every edge and at random moments, and called again: the same bytes, and nothing half made is ever seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.faults.registry import Campaign, Fault

EDGES = Fault(
    "edges",
    "kill -9 at an edge",
    "every opening, rename, link and removal of a file, and both sides of every commit, from ingest to promotion",
    "the same command ends with the same bytes; until then every asset is whole or absent; no temporary file is left",
    "temporary name, fsync, rename; a record after its files; a ledger of transactions; content keys",
)
MOMENTS = Fault(
    "moments",
    "kill -9 at a random moment",
    "`unlearning run` on digits: sealing, three trainings, evaluation, certificate",
    "the same command ends with the same weights, manifests, report, certificate and ledger",
    "resumable state every few steps, random numbers as a function of the step, content keys",
)


FULL = Fault(
    "full",
    "no room for a file",
    "from an edge on, no file grows by a byte: images, ledger, manifests, weights, report, certificate, champion",
    "a refusal in one sentence; what stood there stays; with room again the same command ends with the same bytes",
    "written aside and renamed; a ledger of transactions; EFBIG, ENOSPC and EDQUOT are one refusal",
)


def _kill(repository: Path, *words: str) -> dict[str, Any]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "2000"}
    command = [sys.executable, "-m", "tests.faults.killed", *words]
    done = subprocess.run(command, cwd=repository, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.skipif(sys.platform != "linux", reason="an audit hook is told of what Linux does")
def test_killed_at_an_edge_and_called_again(campaign: Campaign, repository: Path, tmp_path: Path) -> None:
    found = _kill(repository, "edges", str(tmp_path / "home"), *campaign.walk(101, 63))
    assert len(found["trials"]) > 1
    wrong = []
    for trial in found["trials"]:
        with suppress(AssertionError), campaign.trial(EDGES):
            wrong.append(trial)
            assert trial == {"at": trial["at"], "torn": [], "differ": [], "leftovers": []}
            wrong.pop()
    assert wrong == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has imported torch")
def test_killed_at_a_random_moment_and_called_again(campaign: Campaign, repository: Path, tmp_path: Path) -> None:
    kills = campaign.times(4, 200)
    found = _kill(repository, "moments", str(tmp_path / "home"), str(kills), "1")
    assert sum(trial["kills"] for trial in found["trials"]) == kills
    wrong = []
    for trial in found["trials"]:
        with suppress(AssertionError), campaign.trial(MOMENTS, trial["kills"]):
            wrong.append(trial)
            assert trial == {"kills": trial["kills"], "torn": [], "differ": [], "leftovers": []}
            wrong.pop()
    assert wrong == []


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of a file as Linux does")
def test_no_room_is_one_sentence_and_changes_nothing(campaign: Campaign, repository: Path, tmp_path: Path) -> None:
    found = _kill(repository, "full", str(tmp_path / "home"), *campaign.walk(113, 60))
    assert found["trials"]
    for trial in found["trials"]:
        with campaign.trial(FULL):
            assert "\n" not in trial["refused"], trial
            assert "wrong" not in trial, trial  # something else than a sentence
            assert trial["refused"] or trial["left"] == found["whole"], trial  # nothing was left to write
            assert (trial["torn"], trial["differ"], trial["leftovers"]) == ([], [], []), trial
