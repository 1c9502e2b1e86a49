"""A trainer that is told to stop, as Dagster, Kubernetes and a preempted machine tell it: it leaves, and resumes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.registry import Campaign, Fault
from unlearning import digests
from unlearning.evidence import lineage
from unlearning.log import silent
from unlearning.verbs import ingest
from unlearning.workspace import Workspace

STOPPED = Fault(
    "stopped",
    "SIGTERM, SIGINT or SIGKILL to a training process",
    "`python -m pipelines.trainer` on digits, after its first saved state",
    "gone at once with nothing half made; the next run resumes, and its checkpoint has the same bytes",
    "the stack is unwound once; resumable state, random numbers as a function of the step",
)
BUDGET = '{"steps": 300, "batch_size": 32, "learning_rate": 0.002, "warmup_steps": 2, "save_every": 20}'


def _train(repository: Path, root: Path) -> subprocess.Popen[bytes]:
    words = ["original_checkpoint", "--params", str(repository / "params.yaml"), "--root", str(root), "--batch", "b1"]
    env = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pipelines.trainer", *words, "--set", f"original={BUDGET}"]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _stopped(process: subprocess.Popen[bytes], root: Path, chosen: signal.Signals) -> int:
    """How it ends if it is told to once its first state is there."""
    while not list((root / "work").glob("*/state-*.json")):
        with suppress(subprocess.TimeoutExpired):
            pytest.fail(f"it ended with {process.wait(0.02)} before its first state")
    process.send_signal(chosen)
    return process.wait(30)


@pytest.mark.slow
def test_stopped_and_started_again_it_ends_with_the_same_bytes(
    campaign: Campaign, repository: Path, tmp_path: Path
) -> None:
    whole = Workspace(tmp_path / "whole")
    ingest.run("digits", "digits", whole, silent)
    assert _train(repository, whole.root).wait() == 0
    expected = digests.of_folder(whole.batch("b1").original)
    ways = {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: 128 + signal.SIGINT, signal.SIGKILL: -signal.SIGKILL}
    for chosen, code in ways.items():
        here = Workspace(tmp_path / chosen.name)
        ingest.run("digits", "digits", here, silent)
        with campaign.trial(STOPPED):
            assert _stopped(_train(repository, here.root), here.root, chosen) == code
            assert not here.batch("b1").original.exists()
            assert _train(repository, here.root).wait() == 0
            assert digests.of_folder(here.batch("b1").original) == expected
            assert lineage.read(here.batch("b1"), "original_checkpoint").facts["resumed_from"] > 0
