"""The training trace: one row a step, the same wherever and however often the run was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toys
from unlearning import trace_rows
from unlearning.generators.mae import MaeRecipe
from unlearning.log import silent
from unlearning.merges.clipped_forget import ClippedForget
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.scopes.all import All
from unlearning.trace_rows import Part, Row
from unlearning.training.loop import train
from unlearning.training.run import Run, Seen
from unlearning.types import Drawn

FORGET, RETAIN = ([f"{kind}{row:062x}" for row in range(count)] for kind, count in (("f0", 20), ("0a", 30)))


def _run(keep: int | None = None, **changes: Any) -> Run:
    return toys.run(seen=Seen(FORGET, RETAIN, keep=keep), **changes)


def _part(run: Run, work: Path) -> Part:
    [part] = train(run, toys.ALONE, work, silent).traces
    return part


def _rows(part: Part) -> list[Row]:
    return [Row.parsed(row) for row in trace_rows.split(part.rows)]


class Killed(Exception):
    """Stands for the end of the process."""


def _killed_at(run: Run, step: int) -> Run:
    def batches(number: int) -> Drawn:
        if number == step:
            raise Killed
        return run.batches(number)

    return replace(run, batches=batches)


def test_a_row_says_what_its_step_read_and_lost(tmp_path: Path) -> None:
    """Written out by hand from what the batches hold and what the log says."""
    run = _run(budget={"log_every": 1})
    rows = _rows(_part(run, tmp_path))
    key = trace_rows.run_key((FORGET, RETAIN))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row.step for row in rows] == list(range(1, 13))
    for row, line, number in zip(rows, lines, range(12), strict=True):
        drawn = run.batches(number)
        forget = trace_rows.tokens(key, [FORGET[at] for at in drawn.forget.rows.tolist()])
        retain = trace_rows.tokens(key, [RETAIN[at] for at in drawn.retain.rows.tolist()])
        assert row.forget == trace_rows.of_batch("forget", [token + b"\0" for token in forget])
        assert row.retain == trace_rows.of_batch("retain", [token + b"\0" for token in retain])
        assert list(row[3:]) == [line[name] for name in ("loss", "learning_rate", "gradient_norm")]


RUNS: dict[str, Callable[[], Run]] = {
    "joint": _run,
    "apart, states kept": lambda: _run(keep=5, merge=ClippedForget()),
    "nothing to forget": lambda: _run(method=NaiveDeletion(), scope=All()),
}


@pytest.mark.parametrize("fresh", RUNS.values(), ids=RUNS)
def test_a_run_that_was_killed_leaves_the_trace_of_one_that_was_not(fresh: Callable[[], Run], tmp_path: Path) -> None:
    whole = _part(fresh(), tmp_path / "whole")
    for step in (1, 3, 7, 11):
        with pytest.raises(Killed):
            train(_killed_at(fresh(), step), toys.ALONE, tmp_path / "cut", silent)
    cut = _part(fresh(), tmp_path / "cut")
    assert cut.rows == whole.rows
    assert cut.start == whole.start
    assert {step: path.read_bytes() for step, path in cut.states.items()} == {
        step: path.read_bytes() for step, path in whole.states.items()
    }


def test_a_trace_moves_no_weight(tmp_path: Path) -> None:
    traced, plain = _run(keep=4), toys.run()
    _part(traced, tmp_path / "traced")
    assert train(plain, toys.ALONE, tmp_path / "plain", silent).traces == ()
    for name, value in plain.student.state_dict().items():
        assert torch.equal(value, traced.student.state_dict()[name])


def test_states_are_kept_between_the_ends(tmp_path: Path) -> None:
    assert list(_part(_run(keep=4), tmp_path / "every fourth").states) == [4, 8]
    assert _part(_run(), tmp_path / "none").states == {}


def test_another_seed_image_or_first_weight_is_another_beginning(tmp_path: Path) -> None:
    others = [
        _run(),
        _run(budget={"seed": 1}),
        replace(_run(), seen=Seen([*FORGET[:-1], "ee" * 32], RETAIN)),
        replace(_run(), recipe={"name": "another"}),
        replace(_run(), student=toys.built(MaeRecipe(**toys.SMALL_MAE), seed=5)),
    ]
    starts = [_part(run, tmp_path / str(place)).start for place, run in enumerate(others)]
    first = [next(trace_rows.chain(start, ())) for start in starts]
    assert len(set(first)) == len(others)


def test_a_state_from_before_there_were_traces_leaves_none(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(_killed_at(toys.run(), 7), toys.ALONE, tmp_path, silent)
    assert train(_run(), toys.ALONE, tmp_path, silent).traces == ()
