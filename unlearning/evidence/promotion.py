"""Which checkpoint is served under a model's name. Trusts nothing it can recompute, and fails closed.

`<root>/models/<name>/champion.json` is the truth; a registry's aliases are a picture of it. A batch starts from one
champion and may replace exactly that one (compare-and-set), so that two batches never undo each other's forgetting.
Every generation is a line of `history.jsonl`; a rollback is one more (evidence/rollback.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearning import digests, files
from unlearning.errors import EvidenceError
from unlearning.evidence import (
    bundle_writing,
    certificate,
    history,
    lineage,
    plan,
    purge,
    suppression,
    verification,
)
from unlearning.evidence.history import Row
from unlearning.evidence.lineage import Record
from unlearning.gates import Verdict
from unlearning.params import Params
from unlearning.workspace import BatchFolder, Workspace

CLEAN = ("exact", "retrain")  # tiers that train anew: their model is a base


@dataclass(frozen=True, slots=True)
class Champion:
    """What stands in champion.json."""

    version: int  # 0 is the base that no batch made
    checkpoint: str  # folder, relative to the root
    sha256: str  # of the folder: lineage.Record.sha256 of the checkpoint that became it
    batch: str
    certificate_sha256: str | None
    previous: dict[str, Any] | None  # the same fields of the one it replaced, without its own previous
    deletions_since_base: int | None = None  # approximate batches; None in a file from before they were counted
    base: dict[str, Any] | None = None  # version, checkpoint, sha256 and made_at of the last one that was trained clean
    rollback_of: int | None = None  # the earlier version that it serves again
    reason: str | None = None  # of a rollback: a code
    pending_again: int | None = None  # of a rollback: requests whose forgetting no longer stands
    pending_requests: int | None = None  # received before the batch's cut-off, and not forgotten by it
    at: str | None = None  # RFC 3339, UTC


@dataclass(frozen=True, slots=True)
class Promotion:
    """What came of it."""

    champion: Champion
    changed: bool  # False: it was promoted before
    verdict: Verdict


def champion(workspace: Workspace, model: str) -> Champion | None:
    """Who is served under `model`; None before the first promotion. Raises EvidenceError if the file is no champion."""
    path = file(workspace, model)
    if not path.is_file():
        return None
    tree = files.read_json(path)
    try:
        return Champion(**tree)
    except TypeError as error:
        raise EvidenceError(f"{path}: not a champion record ({error}); restore it before promoting anything") from None


def judge(params: Params, batch: BatchFolder, rehash: bool = True) -> Verdict:
    """The verdict on what lies in the batch, by the thresholds of `params`.

    rehash  False takes the recorded sha256 of the checkpoints; integrity is then only as good as the records.
    Raises StorageError or EvidenceError where there is nothing to judge.
    """
    records = {f"{role}_checkpoint": _record(batch, f"{role}_checkpoint", rehash) for role in certificate.ROLES}
    return certificate.judged(files.read_json(batch.report), records, params.model_dump(mode="json"), batch)


def promote(params: Params, batch: BatchFolder, pending: int | None = None) -> Promotion:
    """Make the batch's unlearned checkpoint the champion, once. Raises EvidenceError, with everything as it was.

    Every hash is recomputed, the certificate composed again, the gates evaluated by its and by today's thresholds.
    pending  requests that were received before the batch's cut-off and are not in it; written down
    """
    workspace, name = batch.workspace, params.model.name
    with changing(workspace, name) as (now, lines):
        verdict = _examined(params, batch)
        original, unlearned = (_record(batch, f"{role}_checkpoint", True) for role in ("original", "unlearned"))
        sealed = digests.of_file(batch.certificate)
        if now is not None and (now.sha256, now.certificate_sha256) == (unlearned.sha256, sealed):
            require_kept(workspace, now.checkpoint, now.sha256, now.version)
            suppression.lift(batch, name)  # whoever was killed in between left it
            return Promotion(now, False, verdict)
        _replaceable(now, batch, original)
        _knows_what_was_forgotten(batch, lines)
        before = now or _first(batch, original, name)
        previous = (
            before
            if before.batch != batch.key or before.previous is None
            else Champion(**before.previous, previous=None)
        )
        version = before.version + 1
        after = Champion(
            version,
            _kept(batch, unlearned, name, version),
            unlearned.sha256,
            batch.key,
            sealed,
            without_previous(previous),
            pending_requests=pending,
            at=moment(),
        )
        after = _counted(after, previous, batch)
        put(workspace, name, after)
        suppression.lift(batch, name)  # only now: until here the model that knew was served
    return Promotion(after, True, verdict)


@contextmanager
def changing(workspace: Workspace, model: str) -> Iterator[tuple[Champion | None, list[Row]]]:
    """The lock under which the champion may be replaced, who it is, and the lines of a history that holds.

    Raises StorageError while another process holds it, EvidenceError where champion or history were tampered with.
    """
    with files.locked(workspace.model(model) / ".promotion.lock", f"the champion of {model}"):
        for written in (file(workspace, model), history.file(workspace, model)):
            files.sweep(written)
        now = champion(workspace, model)
        yield now, history.follow(workspace, model, None if now is None else asdict(now))


def put(workspace: Workspace, model: str, after: Champion) -> None:
    """Serve it from now on. A process that is killed between the two writes is finished by the next `changing`."""
    files.write_json(file(workspace, model), asdict(after))
    history.follow(workspace, model, asdict(after))


def generations(workspace: Workspace, model: str) -> list[Row]:
    """The history with what champion.json is ahead of it, for reading. Raises EvidenceError where they do not agree."""
    lines = history.read(workspace, model)  # first: a promotion meanwhile writes champion.json before its line
    now = champion(workspace, model)
    return history.known(workspace, model, None if now is None else asdict(now), lines)


def without_previous(one: Champion) -> dict[str, Any]:
    """Its fields, as the one that replaces it keeps them."""
    return {field: value for field, value in asdict(one).items() if field != "previous"}


def moment() -> str:
    """Now, RFC 3339, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def since_base(served: Champion) -> int:
    """How many approximate deletions it is from its base. Every version was one where nobody counted: at most that."""
    return served.version if served.deletions_since_base is None else served.deletions_since_base


def _first(batch: BatchFolder, original: Record, name: str) -> Champion:
    """The base that no batch made."""
    kept = _kept(batch, original, name, 0)
    base = Champion(0, kept, original.sha256, batch.key, None, None, 0, at=original.made_at)
    return replace(base, base=_as_base(base, original.made_at))


def _counted(after: Champion, previous: Champion, batch: BatchFolder) -> Champion:
    """With how far it is from its base: a model that was trained clean is its own."""
    if plan.read(batch)["tier"] in CLEAN:
        issued_at = files.read_json(batch.certificate)["issued_at"]
        return replace(after, deletions_since_base=0, base=_as_base(after, issued_at))
    return replace(after, deletions_since_base=since_base(previous) + 1, base=previous.base)


def _as_base(served: Champion, made_at: str) -> dict[str, Any]:
    return {
        "version": served.version,
        "checkpoint": served.checkpoint,
        "sha256": served.sha256,
        "made_at": made_at,
    }


def _examined(params: Params, batch: BatchFolder) -> Verdict:
    """Raises EvidenceError unless certificate, files and both sets of thresholds agree that the model may ship."""
    checked = verification.verify(batch.path)
    if not checked.verified:
        more = f" (and {len(checked.mismatches) - 1} more)" if len(checked.mismatches) > 1 else ""
        raise EvidenceError(f"batch {batch.key} does not verify: {checked.mismatches[0]}{more}; nothing was promoted")
    bundle_writing.require_signed(batch)
    said = files.read_json(batch.certificate)
    if said["batch"] != batch.key:
        raise EvidenceError(f"{batch.certificate}: is about batch {said['batch']!r}; nothing was promoted")
    if said["params"]["model"]["name"] != params.model.name:
        raise EvidenceError(
            f"batch {batch.key} was certified for the model {said['params']['model']['name']!r}, not for "
            f"{params.model.name!r}; nothing was promoted"
        )
    verdict = judge(params, batch)
    if said["status"] != "issued" or not verdict.passed:
        failed = [f"{one.name}: {one.sentence}" for one in verdict.criteria if one.blocking and one.status != "pass"]
        why = "; ".join(failed) or "the certificate's own thresholds refuse it"
        raise EvidenceError(f"batch {batch.key} is refused by its gates ({why}); nothing was promoted")
    return verdict


def _replaceable(now: Champion | None, batch: BatchFolder, original: Record) -> None:
    """Raises EvidenceError unless the batch started from the champion of now, or replaces its own earlier result."""
    if now is None and original.facts.get("source") == "champion":
        raise EvidenceError(
            f"batch {batch.key} started from version {original.facts.get('version')}, but no champion.json says who is "
            "served; restore it before promoting anything"
        )
    if now is None or now.sha256 == original.sha256:
        return
    if now.batch == batch.key and now.previous is not None and now.previous["sha256"] == original.sha256:
        return
    raise EvidenceError(
        f"batch {batch.key} started from {original.sha256[:12]}, but version {now.version} ({now.sha256[:12]}, batch "
        f"{now.batch}) is served now; promoting would undo it: make the batch again from version {now.version}"
    )


def _knows_what_was_forgotten(batch: BatchFolder, lines: Sequence[Row]) -> None:
    """Raises EvidenceError for a batch that was rolled back, or that leaves out what an earlier one forgot.

    Its report measures whether that is still forgotten, and its retain set must not teach it again.
    """
    if batch.key in history.undone(lines):
        raise EvidenceError(
            f"batch {batch.key} was rolled back, and its requests wait for another batch; seal and make that one"
        )
    known = {*certificate.forgotten_before(batch), batch.key}
    for other in history.in_effect(lines):
        if other not in known:
            raise EvidenceError(
                f"batch {batch.key}: its manifest was resolved before batch {other} was served, and does not say what "
                "that one forgot; run every stage of it again"
            )


def _record(batch: BatchFolder, asset: str, rehash: bool) -> Record:
    record = lineage.read(batch, asset)
    if not rehash:
        return record
    found = purge.present(batch, asset)
    return replace(record, outputs=found, sha256=digests.of_listing(found))


def _kept(batch: BatchFolder, record: Record, model: str, version: int) -> str:
    """The checkpoint under its version, where no later run of the batch can replace it. Relative to the root."""
    target = batch.workspace.model(model) / "versions" / str(version)
    if not target.is_dir() or digests.of_listing(digests.of_folder(target)) != record.sha256:
        with files.new_folder(target) as folder:
            files.sweep(target, but=folder)
            for found in record.outputs:
                (folder / found.path).parent.mkdir(parents=True, exist_ok=True)
                files.link_or_copy(batch.asset(record.asset) / found.path, folder / found.path)
    return target.relative_to(batch.workspace.root).as_posix()


def require_kept(workspace: Workspace, checkpoint: str, sha256: str, version: int) -> None:
    """Raise EvidenceError unless the kept checkpoint of a version is still the one that was served."""
    folder = workspace.root / checkpoint
    found = digests.of_listing(digests.of_folder(folder)) if folder.is_dir() else "nothing, it is gone"
    if found != sha256:
        raise EvidenceError(
            f"{folder}: hashes to {found[:12]}, version {version} was served as {sha256[:12]}; "
            "restore the checkpoint before promoting anything"
        )


def file(workspace: Workspace, model: str) -> Path:
    """Where champion.json lies."""
    return workspace.model(model) / "champion.json"
