"""A rollback is a new generation: verified, written once, and what it undoes is open again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.evidence.served import NAME, promoted
from tests.toy_batch import request_id, snapshot
from unlearning import digests, files
from unlearning.errors import EvidenceError
from unlearning.evidence import history, promotion
from unlearning.params import Params
from unlearning.verbs import _ledger, _served, promote, rollback
from unlearning.workspace import Workspace

CODE = "worse_quality"


def states(workspace: Workspace, batch: str) -> list[str]:
    return [entry.state for entry in _ledger.of(workspace).entries(batch)]


def test_the_history_is_a_chain_of_every_generation(workspace: Workspace) -> None:
    lines = history.read(workspace, NAME)
    raw = history.file(workspace, NAME).read_bytes().splitlines()
    assert [(row["version"], row["batch"]) for row in lines] == [(0, "b1"), (1, "b1"), (2, "b2")]
    assert [row["before"] for row in lines] == [None, *(digests.of_bytes(line) for line in raw[:-1])]
    assert [history.in_effect(lines, version) for version in (0, 1, 2)] == [(), ("b1",), ("b1", "b2")]


def test_it_is_a_new_generation_that_serves_the_earlier_checkpoint(workspace: Workspace) -> None:
    before, lines = snapshot(workspace.root / "models"), history.read(workspace, NAME)
    done = rollback.run(NAME, 1, workspace, CODE)
    now = promotion.champion(workspace, NAME)
    assert done.changed
    assert done.undone == ("b2",)
    assert now == done.champion
    assert (now.version, now.rollback_of, now.reason, now.pending_again) == (3, 1, CODE, 1)
    assert (now.sha256, now.certificate_sha256, now.batch) == (lines[1]["sha256"], lines[1]["certificate_sha256"], "b1")
    assert (now.deletions_since_base, now.base) == (1, lines[1]["base"])
    assert now.previous is not None
    assert (now.previous["version"], now.previous["batch"]) == (2, "b2")
    assert states(workspace, "b2") == ["rolled_back"]
    assert states(workspace, "b1") == ["promoted"]
    after = snapshot(workspace.root / "models")
    rewritten = {name for name in before if after[name] != before[name]}
    assert rewritten == {f"{NAME}/champion.json", f"{NAME}/history.jsonl"}
    assert after[f"{NAME}/history.jsonl"].startswith(before[f"{NAME}/history.jsonl"])


def test_what_it_undoes_is_pending_again_and_no_longer_counts_as_forgotten(
    params: Params, workspace: Workspace
) -> None:
    next_one = workspace.batch("b3")
    assert [one.batch.key for one in _served.before(params, next_one)] == ["b1", "b2"]
    rollback.run(NAME, 1, workspace, CODE)
    assert [one.batch.key for one in _served.before(params, next_one)] == ["b1"]
    waiting = _ledger.of(workspace).pending(NAME, "toys")
    assert [entry.request_id for entry in waiting] == [request_id(2)]


def test_a_batch_whose_folder_is_gone_is_missed(params: Params, workspace: Workspace) -> None:
    shutil.rmtree(workspace.batch("b1").path)
    with pytest.raises(EvidenceError, match="batch b1 was forgotten under this model, and its certificate"):
        _served.before(params, workspace.batch("b3"))


def test_back_to_the_base_undoes_everything(workspace: Workspace) -> None:
    done = rollback.run(NAME, 0, workspace, CODE)
    assert (done.undone, done.champion.pending_again, done.champion.certificate_sha256) == (("b1", "b2"), 2, None)
    assert states(workspace, "b1") + states(workspace, "b2") == ["rolled_back"] * 2
    assert history.in_effect(history.read(workspace, NAME)) == ()


def test_the_next_batch_goes_on_from_it(params: Params, workspace: Workspace) -> None:
    rollback.run(NAME, 1, workspace, CODE)
    promoted(params, workspace, 3, "square")  # forgets the circles of the second batch, too: both requests wait
    lines = history.read(workspace, NAME)
    assert [row["version"] for row in lines] == [0, 1, 2, 3, 4]
    assert history.in_effect(lines) == ("b1", "b3")
    assert states(workspace, "b3") == ["promoted"] * 2


def test_a_batch_that_was_rolled_back_is_not_promoted_again(params: Params, workspace: Workspace) -> None:
    rollback.run(NAME, 1, workspace, CODE)
    with pytest.raises(EvidenceError, match="batch b2 was rolled back, and its requests wait for another batch"):
        promote.run(params, workspace.batch("b2"))
    with pytest.raises(EvidenceError, match="version 2 stands on batch b2, which was rolled back"):
        rollback.run(NAME, 2, workspace, CODE)


def test_a_batch_that_does_not_know_what_was_forgotten_is_not_promoted(params: Params, workspace: Workspace) -> None:
    batch = workspace.batch("b2")
    first = {**history.read(workspace, NAME)[1], "previous": None}
    first.pop("before")
    history.file(workspace, NAME).unlink()
    files.write_json(promotion.file(workspace, NAME), first)
    assert promotion.promote(params, batch).champion.version == 2
    path = batch.asset("forget_manifest") / "resolution.json"
    said = files.read_json(path)
    files.write_json(path, {**said, "earlier": []})
    lines = history.read(workspace, NAME)
    with pytest.raises(EvidenceError, match="does not say what that one forgot"):
        promotion._knows_what_was_forgotten(batch, lines)


@pytest.mark.parametrize(
    ("to_version", "reason", "expected", "sentence"),
    [
        (7, CODE, None, "version 7 was never served; 0, 1 were before"),
        (2, CODE, None, "version 2 serves the checkpoint of version 2 now"),
        (1, "Mrs. Miller asked", None, "is no code"),
        (1, CODE, 1, "version 2 is served, not 1"),
    ],
)
def test_what_cannot_be_rolled_back_to_is_refused_and_nothing_moves(
    workspace: Workspace, to_version: int, reason: str, expected: int | None, sentence: str
) -> None:
    before = snapshot(workspace.root)
    with pytest.raises(EvidenceError, match=sentence):
        rollback.run(NAME, to_version, workspace, reason, expected)
    assert snapshot(workspace.root) == before


def test_a_kept_version_that_was_changed_is_not_served(workspace: Workspace) -> None:
    weights = workspace.root / history.read(workspace, NAME)[1]["checkpoint"] / "model.safetensors"
    weights.unlink()
    weights.write_bytes(b"other weights")
    before = snapshot(workspace.root)
    with pytest.raises(EvidenceError, match="version 1 was served as"):
        rollback.run(NAME, 1, workspace, CODE)
    assert snapshot(workspace.root) == before


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_line_that_was_changed_stops_promotion_and_rollback(
    params: Params, workspace: Workspace, victim: int
) -> None:
    path = history.file(workspace, NAME)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    lines[victim]["batch"] = "b9"
    path.write_bytes(b"".join(files.canonical(line) + b"\n" for line in lines))
    with pytest.raises(EvidenceError, match=r"history\.jsonl"):
        rollback.run(NAME, 1, workspace, CODE)
    with pytest.raises(EvidenceError, match=r"history\.jsonl"):
        promote.run(params, workspace.batch("b2"))


def test_a_line_that_was_taken_out_is_missed(workspace: Workspace) -> None:
    path = history.file(workspace, NAME)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(EvidenceError, match="does not follow the line before it"):
        rollback.run(NAME, 1, workspace, CODE)


class Killed(BaseException):
    """Nobody catches it: the process is gone."""


@contextmanager
def killed_before_write(number: int) -> Iterator[None]:
    """The process dies before its n-th write of a file, from 0, or of a state into the ledger."""
    left = [number]

    def counted(real: Any) -> Any:
        def write(*args: Any, **more: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*args, **more)

        return write

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "write_bytes", counted(files.write_bytes))
        ledger = type(_ledger.of(Workspace(Path("var"))))
        patch.setattr(ledger, "roll_back", counted(ledger.roll_back))
        yield


def _outcome(workspace: Workspace) -> Any:
    """What is served and what is open, without the clock."""
    now = promotion.champion(workspace, NAME)
    assert now is not None
    lines = history.read(workspace, NAME)
    shown = [{**row, "at": None, "before": None} for row in lines]
    return shown, now.previous, now.version, states(workspace, "b1"), states(workspace, "b2")


def test_killed_between_any_two_writes_and_run_again_it_ends_the_same(
    made: tuple[Params, Path], workspace: Workspace, tmp_path: Path
) -> None:
    rollback.run(NAME, 0, workspace, CODE)
    whole, died = _outcome(workspace), 0
    for number in range(8):
        other = Workspace(tmp_path / f"killed-{number}")
        shutil.copytree(made[1], other.root)
        try:
            with killed_before_write(number):
                rollback.run(NAME, 0, other, CODE)
        except Killed:
            died += 1
        assert rollback.run(NAME, 0, other, CODE, expected=2).champion.version == 3
        assert _outcome(other) == whole
    assert died == 4  # champion.json, the history, and a batch twice


def test_a_promotion_tells_the_ledger_what_a_killed_rollback_did_not(params: Params, workspace: Workspace) -> None:
    with killed_before_write(2), pytest.raises(Killed):
        rollback.run(NAME, 1, workspace, CODE)
    assert states(workspace, "b2") == ["promoted"]
    assert not promote.run(params, workspace.batch("b1")).changed
    assert states(workspace, "b2") == ["rolled_back"]


def test_a_promotion_counts_the_requests_that_came_in_time_and_are_not_in_it(
    params: Params, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = promotion.champion(workspace, NAME)
    assert now is not None
    assert now.pending_requests == 0
    rollback.run(NAME, 1, workspace, CODE)  # the second batch's request waits again, and came before it was sealed
    counted = list[int | None]()
    monkeypatch.setattr(promotion, "promote", lambda _, __, pending: counted.append(pending))
    promote.run(params, workspace.batch("b2"))
    assert counted == [1]
