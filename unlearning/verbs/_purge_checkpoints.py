"""Weights that learnt the images: every checkpoint of the model in which the batch's forgetting does not stand.

Versions served before it, the bases they grew from, and the checkpoints of the batches that made them. Whatever was
started from a version that had forgotten stays. Only weights go: what a checkpoint says of itself is evidence.
"""

from __future__ import annotations

from pathlib import Path

from unlearning import files
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import history, lineage
from unlearning.evidence.purge import Location
from unlearning.verbs._purge_assets import take_out
from unlearning.verbs._purge_job import Counted, Job
from unlearning.workspace import BatchFolder

_ROLES = ("original", "reference", "unlearned")
_WEIGHTS = ".safetensors"


def old_checkpoints(job: Job, said: Location | None) -> Counted:
    """Delete them, or say until when they are kept: files of weights, each counted under every name it has."""
    recipe = job.params.purge
    over, end = job.ends(recipe.keep_checkpoints_days)
    spared = set() if over or recipe.old_checkpoints == "seal" else _spared(job)
    before = 0 if said is None else said.removed
    removed = remaining = 0
    for folder, sha256 in _kept_folders(job):
        keeps = not over and (recipe.old_checkpoints == "keep" or sha256 in spared)
        count = _weights(folder) if keeps else _clear(folder)
        removed, remaining = (removed, remaining + count) if keeps else (removed + count, remaining)
    for batch, role in _of_batches(job):
        keeps = not over and (recipe.old_checkpoints == "keep" or _sha256(batch, role) in spared)
        if keeps:
            remaining += _weights(batch.asset(role))
        else:
            here = _weights(batch.asset(role))
            take_out(batch, role, lambda path: path.endswith(_WEIGHTS))
            removed += here
    until, why = (end, "policy_keeps") if remaining else (None, None)
    return Counted("delete", before + removed, remaining, until, why)


def old_folders(job: Job) -> list[tuple[Path, str | None]]:
    """The folders in which they still lie, and the digest each was served or recorded by; None of a base.

    What is sealed of them is sealed before they go.
    """
    home = job.workspace.model(job.params.model.name) / "base"
    kept = [(path, None if path.parent == home else sha256) for path, sha256 in _kept_folders(job)]
    made = [(batch.asset(asset), _sha256(batch, asset)) for batch, asset in _of_batches(job)]
    return [(path, sha256) for path, sha256 in (*kept, *made) if _weights(path)]


def forgetting(job: Job) -> set[str]:
    """sha256 of every version in which the batch's forgetting stands."""
    return {row["sha256"] for row in job.lines if job.batch.key in history.in_effect(job.lines, row["version"])}


def _old(job: Job) -> dict[int, str]:
    """version -> sha256 of those in which it does not."""
    good = forgetting(job)
    return {int(row["version"]): str(row["sha256"]) for row in job.lines if row["sha256"] not in good}


def _spared(job: Job) -> set[str]:
    """The newest versions that policy keeps a while."""
    old, most = _old(job), job.params.purge.keep_versions
    return {old[version] for version in sorted(old, reverse=True)[:most]}


def _kept_folders(job: Job) -> list[tuple[Path, str]]:
    """Folders below models/<name>/ and the sha256 of what was served from each: old versions, and every base."""
    home = job.workspace.model(job.params.model.name)
    versions = [(home / "versions" / str(version), sha256) for version, sha256 in sorted(_old(job).items())]
    base = home / "base"
    bases = sorted(base.iterdir()) if base.is_dir() else []
    first = next((row["sha256"] for row in job.lines), "")
    return [*versions, *((path, str(first)) for path in bases)]


def _of_batches(job: Job) -> list[tuple[BatchFolder, str]]:
    """Checkpoints of batches: the original of this one, and all of those that did not start from what had forgotten."""
    good, found = forgetting(job), list[tuple[BatchFolder, str]]()
    for other in job.workspace.batches():
        if not _of_model(other, job.params.model.name):
            continue
        if _sha256(other, "original_checkpoint") in good:
            continue
        assets = [f"{role}_checkpoint" for role in (("original",) if other.key == job.batch.key else _ROLES)]
        found += [(other, asset) for asset in assets if _sha256(other, asset) not in good]
    return found


def _of_model(batch: BatchFolder, model: str) -> bool:
    try:
        return bool(files.read_json(batch.requests.with_name("batch.json"))["model"] == model)
    except (StorageError, KeyError, TypeError):
        return False


def _sha256(batch: BatchFolder, asset: str) -> str | None:
    try:
        return lineage.read(batch, asset).sha256
    except (StorageError, EvidenceError):
        return None


def _weights(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob(f"*{_WEIGHTS}")) if folder.is_dir() else 0


def _clear(folder: Path) -> int:
    """Remove the weights of a folder that no record is about; how many files went."""
    paths = sorted(folder.rglob(f"*{_WEIGHTS}")) if folder.is_dir() else []
    for path in paths:
        path.unlink(missing_ok=True)
    return len(paths)
