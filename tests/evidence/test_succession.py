"""Who is served after whom: every step of a promotion, on batches that were written by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.evidence import batch_by_hand
from tests.evidence.batch_by_hand import certified, made, put, unlearned
from unlearning import digests, files
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import history, lineage, promotion, suppression
from unlearning.evidence.promotion import Champion, moment
from unlearning.params import Params
from unlearning.workspace import BatchFolder, Workspace

NAME = "toys-mae"
NOW = "2026-04-05T06:07:08+00:00"
OTHER = "0f" * 32


@pytest.fixture
def params(by_hand: tuple[Params, Path]) -> Params:
    return by_hand[0]


@pytest.fixture(autouse=True)
def signed(monkeypatch: pytest.MonkeyPatch) -> list[BatchFolder]:
    """Batches whose bundle was asked for: none lies here, and test_attest.py has those that do not hold."""
    asked = list[BatchFolder]()
    monkeypatch.setattr(promotion.bundle_writing, "require_signed", asked.append)
    monkeypatch.setattr(promotion, "moment", lambda: NOW)
    return asked


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(EvidenceError) as caught:
        call()
    return str(caught.value)


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file() and ".lock" not in path.name}


def next_batch(batch: BatchFolder, params: Params, key: str = "b2", **more: Any) -> BatchFolder:
    """A certified batch that starts from what the one before it made."""
    told = {"original": unlearned(batch.key), "earlier": ({"batch": batch.key},), **more}
    found = made(batch.workspace, params, key, **told)
    certified(found, params)
    return found


def test_the_first_who_is_served_after_a_base_that_no_batch_made(
    batch: BatchFolder, params: Params, signed: list[BatchFolder]
) -> None:
    assert promotion.champion(batch.workspace, NAME) is None
    done = promotion.promote(params, batch, pending=3)
    made_at = {"made_at": batch_by_hand.MADE_AT}
    original, new = (lineage.read(batch, f"{role}_checkpoint").sha256 for role in ("original", "unlearned"))
    base = {"version": 0, "checkpoint": f"models/{NAME}/versions/0", "sha256": original}
    assert done.champion == Champion(
        version=1,
        checkpoint=f"models/{NAME}/versions/1",
        sha256=new,
        batch="b1",
        certificate_sha256=digests.of_file(batch.certificate),
        previous={
            **base,
            "batch": "b1",
            "certificate_sha256": None,
            "deletions_since_base": 0,
            "base": {**base, **made_at},
            "rollback_of": None,
            "reason": None,
            "pending_again": None,
            "pending_requests": None,
            "at": batch_by_hand.MADE_AT,
        },
        deletions_since_base=1,
        base={**base, **made_at},
        pending_requests=3,
        at=NOW,
    )
    assert (done.changed, done.verdict.passed, signed) == (True, True, [batch])
    assert promotion.champion(batch.workspace, NAME) == done.champion
    home = batch.workspace.root / "models" / NAME
    assert promotion.file(batch.workspace, NAME) == home / "champion.json"
    for version, asset in ((0, "original_checkpoint"), (1, "unlearned_checkpoint")):
        assert digests.of_folder(home / "versions" / str(version)) == digests.of_folder(batch.asset(asset))
    rows = promotion.generations(batch.workspace, NAME)
    assert [(row["version"], row["sha256"]) for row in rows] == [(0, original), (1, new)]


def test_again_nothing_changes_and_a_filter_that_was_left_is_lifted(
    batch: BatchFolder, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifted = list[tuple[BatchFolder, str]]()
    monkeypatch.setattr(suppression, "lift", lambda *told: lifted.append(told))
    first = promotion.promote(params, batch)
    before = files_of(batch.workspace.root)
    again = promotion.promote(params, batch, pending=9)
    assert (again.champion, again.changed, again.verdict) == (first.champion, False, first.verdict)
    assert files_of(batch.workspace.root) == before
    assert lifted == [(batch, NAME), (batch, NAME)]


def test_a_champion_that_is_damaged_is_not_called_promoted(batch: BatchFolder, params: Params) -> None:
    done = promotion.promote(params, batch)
    folder = batch.workspace.root / done.champion.checkpoint
    (folder / "model.safetensors").unlink()  # a second name of the batch's own bytes
    files.write_bytes(folder / "model.safetensors", b"other")
    found = digests.of_listing(digests.of_folder(folder))
    told = f"version 1 was served as {done.champion.sha256[:12]}; restore the checkpoint before promoting anything"
    assert refused(lambda: promotion.promote(params, batch)) == f"{folder}: hashes to {found[:12]}, {told}"
    shutil.rmtree(folder)
    assert refused(lambda: promotion.promote(params, batch)) == f"{folder}: hashes to nothing, it , {told}"


def test_the_next_batch_replaces_the_one_it_started_from(batch: BatchFolder, params: Params) -> None:
    first = promotion.promote(params, batch).champion
    second = next_batch(batch, params)
    done = promotion.promote(params, second).champion
    assert done.previous == {name: value for name, value in asdict(first).items() if name != "previous"}
    assert (done.version, done.batch, done.deletions_since_base, done.base) == (2, "b2", 2, first.base)
    assert (done.pending_requests, done.checkpoint) == (None, f"models/{NAME}/versions/2")
    assert [row["version"] for row in promotion.generations(batch.workspace, NAME)] == [0, 1, 2]
    told = f"batch b1 started from {lineage.read(batch, 'original_checkpoint').sha256[:12]}, but version 2 ("
    assert refused(lambda: promotion.promote(params, batch)) == (
        f"{told}{done.sha256[:12]}, batch b2) is served now; "
        "promoting would undo it: make the batch again from version 2"
    )


def test_a_batch_that_is_made_again_replaces_its_own_result(batch: BatchFolder, params: Params) -> None:
    first = promotion.promote(params, batch).champion
    put(batch, params, "unlearned_checkpoint", {"model.safetensors": b"a second try"})
    batch_by_hand.report(batch, params)
    certified(batch, params)
    done = promotion.promote(params, batch).champion
    assert done.previous == first.previous
    assert (done.version, done.deletions_since_base, done.base) == (2, 1, first.base)


def test_another_certificate_of_the_same_weights_is_another_version(batch: BatchFolder, params: Params) -> None:
    first = promotion.promote(params, batch).champion
    batch_by_hand.report(batch, params, retention=0.995)
    certified(batch, params)
    done = promotion.promote(params, batch)
    assert (done.changed, done.champion.version, done.champion.sha256) == (True, 2, first.sha256)
    assert done.champion.certificate_sha256 != first.certificate_sha256


@pytest.mark.parametrize("tier", ["exact", "retrain"])
def test_a_model_that_was_trained_anew_is_its_own_base(batch: BatchFolder, params: Params, tier: str) -> None:
    promotion.promote(params, batch)
    second = next_batch(batch, params, tier=tier)
    done = promotion.promote(params, second).champion
    assert done.deletions_since_base == 0
    assert done.base == {
        "version": 2,
        "checkpoint": done.checkpoint,
        "sha256": done.sha256,
        "made_at": batch_by_hand.ISSUED_AT,
    }


def test_where_nobody_counted_every_version_was_a_deletion(batch: BatchFolder, params: Params) -> None:
    first = promotion.promote(params, batch).champion
    assert (promotion.since_base(replace(first, deletions_since_base=None, version=7)), first.version) == (7, 1)
    assert promotion.since_base(replace(first, deletions_since_base=0, version=7)) == 0


def test_a_served_model_that_no_file_names_is_not_replaced(batch: BatchFolder, params: Params) -> None:
    other = made(batch.workspace, params, "b3", source={"source": "champion", "version": 4})
    certified(other, params)
    assert refused(lambda: promotion.promote(params, other)) == (
        "batch b3 started from version 4, but no champion.json says who is served; restore it before promoting anything"
    )


def test_a_batch_from_another_original_undoes_nothing(batch: BatchFolder, params: Params) -> None:
    served = promotion.promote(params, batch).champion
    other = made(batch.workspace, params, "b3", earlier=({"batch": "b1"},))
    certified(other, params)
    original = lineage.read(other, "original_checkpoint").sha256
    assert refused(lambda: promotion.promote(params, other)) == (
        f"batch b3 started from {original[:12]}, but version 1 ({served.sha256[:12]}, batch b1) is served now; "
        "promoting would undo it: make the batch again from version 1"
    )
    assert promotion.champion(batch.workspace, NAME) == served


def test_a_batch_that_does_not_know_what_was_forgotten(batch: BatchFolder, params: Params) -> None:
    promotion.promote(params, batch)
    second = next_batch(batch, params, earlier=())
    assert refused(lambda: promotion.promote(params, second)) == (
        "batch b2: its manifest was resolved before batch b1 was served, and does not say what that one forgot; "
        "run every stage of it again"
    )


def test_a_batch_that_was_rolled_back_is_not_served_again(batch: BatchFolder, params: Params) -> None:
    promotion.promote(params, batch)
    second = next_batch(batch, params)
    done = promotion.promote(params, second).champion
    (first,) = [row for row in history.read(batch.workspace, NAME) if row["version"] == 1]
    kept = {name: first[name] for name in ("checkpoint", "sha256", "batch", "certificate_sha256")}
    back = Champion(version=3, **kept, previous=promotion.without_previous(done), rollback_of=1)
    promotion.put(batch.workspace, NAME, back)
    assert "previous" not in promotion.without_previous(back)
    told = "batch b2 was rolled back, and its requests wait for another batch; seal and make that one"
    assert refused(lambda: promotion.promote(params, second)) == told
    third = next_batch(batch, params, "b3")
    assert promotion.promote(params, third).champion.version == 4


def test_only_one_at_a_time_changes_who_is_served(batch: BatchFolder, params: Params) -> None:
    lock = batch.workspace.model(NAME) / ".promotion.lock"
    with files.locked(lock, "a test"), pytest.raises(StorageError) as caught:
        promotion.promote(params, batch)
    assert str(caught.value).startswith(f"the champion of {NAME} is being made by another process now")


def test_a_file_that_is_no_champion(batch: BatchFolder) -> None:
    path = promotion.file(batch.workspace, NAME)
    files.write_json(path, {"version": 1})
    told = refused(lambda: promotion.champion(batch.workspace, NAME))
    assert told.startswith(f"{path}: not a champion record (")
    assert told.endswith("); restore it before promoting anything")


def test_a_history_that_tells_another_story_is_no_history(batch: BatchFolder, params: Params) -> None:
    done = promotion.promote(params, batch).champion
    files.write_json(promotion.file(batch.workspace, NAME), {**asdict(done), "sha256": OTHER})
    assert "is not what champion.json" in refused(lambda: promotion.generations(batch.workspace, NAME))


def test_whoever_reads_while_another_promotes_sees_one_of_both(
    batch: BatchFolder, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert promotion.generations(batch.workspace, NAME) == []
    before = promotion.promote(params, batch).champion
    rows = promotion.generations(batch.workspace, NAME)
    later = replace(before, version=2, previous=promotion.without_previous(before))

    def meanwhile(workspace: Workspace, model: str) -> Champion:
        promotion.put(workspace, model, later)
        return before

    with monkeypatch.context() as patched:
        patched.setattr(promotion, "champion", meanwhile)
        assert promotion.generations(batch.workspace, NAME) == rows
    assert [row["version"] for row in promotion.generations(batch.workspace, NAME)] == [0, 1, 2]


def test_a_checkpoint_of_no_files_is_kept_as_one(batch: BatchFolder) -> None:
    """Nothing fills its folder anew: it is not swept away with what killed writers left."""
    nothing = replace(lineage.read(batch, "unlearned_checkpoint"), outputs=[], sha256=digests.of_listing([]))
    assert promotion._kept(batch, nothing, NAME, 7) == f"models/{NAME}/versions/7"
    assert list((batch.workspace.model(NAME) / "versions" / "7").iterdir()) == []


def test_a_checkpoint_that_is_kept_is_not_copied_again(batch: BatchFolder, params: Params) -> None:
    done = promotion.promote(params, batch).champion
    folder = batch.workspace.root / done.checkpoint
    record = lineage.read(batch, "unlearned_checkpoint")
    before = folder.stat().st_ino
    assert promotion._kept(batch, record, NAME, 1) == done.checkpoint
    assert folder.stat().st_ino == before
    (folder / "more").write_bytes(b"1")
    left = folder.parent / ".partial" / "1-7-0123abcd"  # of a writer who was killed
    left.mkdir(parents=True)
    assert promotion._kept(batch, record, NAME, 1) == done.checkpoint
    assert digests.of_folder(folder) == digests.of_folder(batch.unlearned)
    assert not left.exists()


def test_now_is_told_in_utc_to_the_second() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    told = moment()
    assert (told[-6:], len(told)) == ("+00:00", len(NOW))
    assert before <= datetime.fromisoformat(told) <= datetime.now(UTC)
