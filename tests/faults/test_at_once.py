"""Two at one thing: the lock lets one of them begin, and the fence lets only the newest write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests import toys
from tests.faults import processes
from tests.faults.registry import Campaign, Fault
from tests.toy_batch import file_requests, request_body, snapshot, toy_params, toy_workspace
from unlearning.errors import StorageError
from unlearning.log import Progress, silent
from unlearning.training.loop import train
from unlearning.training.savepoint import Savepoints
from unlearning.verbs import plan, resolve, retain, seal
from unlearning.workspace import BatchFolder

AT_ONCE = Fault(
    "at-once",
    "two runs of one batch at once",
    "the command line, one of them stopped in the middle of its asset",
    "the other says so in one sentence and ends with exit code 2; the first ends well",
    "a lock an asset, which the kernel frees when its holder dies",
)
OVERTAKEN = Fault(
    "overtaken",
    "a stopped writer goes on after another has finished",
    "an asset whose lock file was deleted meanwhile; a training whose resumable state another attempt took over",
    "it is refused in one sentence, exit code 2, and no byte of the other's changes",
    "every attempt takes the next generation; an older one is refused before each write",
)
SETTINGS = ["data.name=toys", "data.channels=3", "evaluate.profile=none", "gates.attacks={}"]


@pytest.fixture
def batch(tmp_path: Path, repository: Path) -> BatchFolder:
    """Sealed, resolved and planned; its retain set is next."""
    workspace, params = toy_workspace(tmp_path), toy_params(repository)
    file_requests(workspace, request_body())
    for verb in (seal, resolve, plan):
        verb.run(params, workspace.batch("b1"), silent)
    return workspace.batch("b1")


def _words(batch: BatchFolder, repository: Path) -> list[str]:
    places = ["--root", str(batch.workspace.root), "--batch", batch.key, "--params", str(repository / "params.yaml")]
    return ["retain", *places, *(word for one in SETTINGS for word in ("--set", one))]


def test_the_second_of_two_is_told_in_one_sentence(campaign: Campaign, batch: BatchFolder, repository: Path) -> None:
    words = _words(batch, repository)
    with campaign.trial(AT_ONCE):
        first = processes.stopped(repository, *words)
        code, said = processes.ended(processes.command(repository, *words))
        assert code == 2
        assert said.splitlines()[-1] == (
            "unlearning: batch b1: retain_proxy_set is being made by another process now; wait for it, or stop it"
        )
        assert processes.continued(first)[0] == 0
        assert sorted(path.name for path in batch.retain.parent.iterdir()) == [
            "holdout.parquet",
            "retain.parquet",
            "sets.json",
        ]


def test_one_that_lost_its_lock_and_goes_on_is_refused(
    campaign: Campaign, batch: BatchFolder, repository: Path
) -> None:
    with campaign.trial(OVERTAKEN):
        first = processes.stopped(repository, *_words(batch, repository))
        shutil.rmtree(batch.path / ".locks")  # as a clean-up that takes every lock for a dead one
        retain.run(toy_params(repository, **{"retain.ratio": 0.5}), batch, silent)
        made = snapshot(batch.workspace.root)
        code, said = processes.continued(first)
        assert code == 2
        assert "Traceback" not in said
        assert said.count("unlearning:") == 1
        assert snapshot(batch.workspace.root) == made
        assert list((batch.path / ".partial").iterdir()) == []


@pytest.mark.parametrize("away", [False, True])
def test_a_training_that_was_overtaken_writes_nothing_more(campaign: Campaign, tmp_path: Path, away: bool) -> None:
    """At its sixth step the state is taken over, or finished and put away, as by an attempt while it was stopped."""
    run, seen = toys.run(), dict[str, bytes]()

    def log(line: Progress) -> None:
        if line.step == 6:
            Savepoints(tmp_path / "work", run.recipe).claim()
            if away:
                shutil.rmtree(tmp_path / "work")
            seen.update(snapshot(tmp_path))

    with campaign.trial(OVERTAKEN):
        with pytest.raises(StorageError, match="was overtaken by a later one"):
            train(run, toys.ALONE, tmp_path / "work", log)
        assert snapshot(tmp_path) == seen


def test_the_next_attempt_goes_on_from_its_state(tmp_path: Path) -> None:
    first, second = (Savepoints(tmp_path, {"name": "toy"}) for _ in range(2))
    first.claim()
    first.save(1, {"weight": torch.ones(2)})
    second.claim()
    second.save(2, {"weight": torch.zeros(2)})
    with pytest.raises(StorageError, match="attempt 1 was overtaken"):
        first.save(3, {"weight": torch.ones(2)})
    found = second.newest()
    assert found is not None
    assert found[0] == 2
    assert not found[1]["weight"].any()
