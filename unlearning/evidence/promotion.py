"""Which checkpoint is served under a model's name. Trusts nothing it can recompute, and fails closed.

`<root>/models/<name>/champion.json` is the truth; a registry's aliases are a picture of it. A batch starts from one
champion and may replace exactly that one (compare-and-set), so that two batches never undo each other's forgetting.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from unlearning import digests, files
from unlearning.errors import EvidenceError
from unlearning.evidence import certificate, lineage, plan, suppression, verification
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
    return certificate.judged(files.read_json(batch.report), records, params.model_dump(mode="json"))


def promote(params: Params, batch: BatchFolder) -> Promotion:
    """Make the batch's unlearned checkpoint the champion, once. Raises EvidenceError, with everything as it was.

    Every hash is recomputed, the certificate composed again, the gates evaluated by its and by today's thresholds.
    """
    workspace, name = batch.workspace, params.model.name
    with files.locked(workspace.model(name) / ".promotion.lock", f"the champion of {name}"):
        verdict = _examined(params, batch)
        original, unlearned = (_record(batch, f"{role}_checkpoint", True) for role in ("original", "unlearned"))
        now = champion(workspace, name)
        sealed = digests.of_file(batch.certificate)
        if now is not None and (now.sha256, now.certificate_sha256) == (unlearned.sha256, sealed):
            _served(workspace, now)
            suppression.lift(batch, name)  # whoever was killed in between left it
            return Promotion(now, False, verdict)
        _replaceable(now, batch, original)
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
            {field: value for field, value in asdict(previous).items() if field != "previous"},
        )
        after = _counted(after, previous, batch)
        files.write_json(file(workspace, name), asdict(after))
        suppression.lift(batch, name)  # only now: until here the model that knew was served
    return Promotion(after, True, verdict)


def since_base(served: Champion) -> int:
    """How many approximate deletions it is from its base. Every version was one where nobody counted: at most that."""
    return served.version if served.deletions_since_base is None else served.deletions_since_base


def _first(batch: BatchFolder, original: Record, name: str) -> Champion:
    """The base that no batch made."""
    base = Champion(0, _kept(batch, original, name, 0), original.sha256, batch.key, None, None, 0)
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


def _record(batch: BatchFolder, asset: str, rehash: bool) -> Record:
    record = lineage.read(batch, asset)
    if not rehash:
        return record
    found = digests.of_folder(batch.asset(asset))
    return replace(record, outputs=found, sha256=digests.of_listing(found))


def _kept(batch: BatchFolder, record: Record, model: str, version: int) -> str:
    """The checkpoint under its version, where no later run of the batch can replace it. Relative to the root."""
    target = batch.workspace.model(model) / "versions" / str(version)
    if not target.is_dir() or digests.of_listing(digests.of_folder(target)) != record.sha256:
        with files.new_folder(target) as folder:
            for found in record.outputs:
                (folder / found.path).parent.mkdir(parents=True, exist_ok=True)
                files.link_or_copy(batch.asset(record.asset) / found.path, folder / found.path)
    return target.relative_to(batch.workspace.root).as_posix()


def _served(workspace: Workspace, now: Champion) -> None:
    found = digests.of_listing(digests.of_folder(workspace.root / now.checkpoint))
    if found != now.sha256:
        raise EvidenceError(
            f"{workspace.root / now.checkpoint}: hashes to {found[:12]}, champion.json says {now.sha256[:12]}; "
            "restore the checkpoint before promoting anything"
        )


def file(workspace: Workspace, model: str) -> Path:
    """Where champion.json lies."""
    return workspace.model(model) / "champion.json"
