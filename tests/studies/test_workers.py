"""Children: how one ends is told in its own words, and none outlives the call."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from unlearning.verbs import _study_workers
from unlearning.verbs._study_workers import Ended, Job


def test_each_end_is_told_with_the_childs_own_sentence(tmp_path: Path) -> None:
    jobs = [
        Job("good", ("--version",), tmp_path / "good.log"),
        Job("refused", ("study-point", "nowhere.yaml", "--name", "x"), tmp_path / "refused.log"),
    ]
    told: dict[str, Ended] = {}
    _study_workers.run(jobs, 2, lambda ended: told.update({ended.job.name: ended}))
    assert {name: ended.code for name, ended in told.items()} == {"good": 0, "refused": 2}
    assert told["refused"].sentence == "nowhere.yaml: there is no such study file; infra/studies holds some"
    assert told["good"].sentence.startswith("unlearning ") or told["good"].sentence[0].isdigit()


def test_a_child_ended_by_a_signal_is_told_apart(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("training\nstep 30\n")
    assert Ended(Job("x", (), log), -9).sentence.startswith("the process was ended by signal 9")


def test_no_child_outlives_a_caller_that_breaks(tmp_path: Path) -> None:
    """The second job reads a pipe that nobody writes: it ends only if it is ended."""
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    jobs = [
        Job("good", ("--version",), tmp_path / "good.log"),
        Job("waits", ("study-point", str(pipe), "--name", "x"), tmp_path / "waits.log"),
    ]

    def broken(ended: Ended) -> None:
        raise RuntimeError(ended.job.name)

    with pytest.raises(RuntimeError, match="good"):
        _study_workers.run(jobs, 2, broken)
    with pytest.raises(OSError, match="No such device"):  # no reader is left
        os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)


@pytest.mark.parametrize(("given", "wanted"), [("3", "3"), ("", "2"), (None, "2")])
def test_threads_are_the_callers_number_else_a_share_of_the_cores(
    given: str | None, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that only tells its environment: `sys.executable` is a program that is no Python."""
    tells = tmp_path / "tells"
    tells.write_text('#!/bin/sh\necho "threads=$OMP_NUM_THREADS"\n')
    tells.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(tells))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    told: list[str] = []
    _study_workers.run([Job("x", (), tmp_path / "x.log")], 4, lambda ended: told.append(ended.sentence))
    assert told == [f"threads={wanted}"]
