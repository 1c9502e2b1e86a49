"""Old checkpoints under `old_checkpoints: seal`: encrypted to the privacy officer's key before their clear copies go.

Whoever holds a model from before the forgetting beside the one from after it reconstructs what was forgotten. A sealed
one lies in the vault until keep_checkpoints_days after the promotion; the purge that runs then removes it. This place
is cleared first: where a checkpoint cannot be sealed, nothing was removed yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from unlearning import digests
from unlearning.errors import EvidenceError
from unlearning.evidence import history, purge, sealed_models, sealing_key
from unlearning.evidence.purge import Location
from unlearning.evidence.sealing import Header
from unlearning.log import Progress
from unlearning.verbs._purge_checkpoints import forgetting, old_folders
from unlearning.verbs._purge_job import Counted, Job, Place

CODE = "sealed_checkpoints"


def place(job: Job, said: purge.Purged | None) -> Mapping[str, Place]:
    """The place, where anything is sealed, was, or is to be.

    Raises EvidenceError, before anything is removed, where there is no key to seal to.
    """
    if _seals(job):
        sealing_key.public(job.workspace)
    told = said is not None and said.at(CODE) is not None
    left = sealed_models.begun(job.workspace, job.params.model.name)
    return {CODE: sealed} if _seals(job) or told or left or _known(job) else {}


def sealed(job: Job, said: Location | None) -> Counted:
    """Seal what is old and in the clear yet, remove what has expired, and say until when the rest stays."""
    sealed_models.sweep(job.workspace, job.params.model.name)
    if _seals(job):
        for folder, sha256 in old_folders(job):
            _seal(job, folder, sha256)
    known = _known(job)
    stays = {path: header for path, header in known.items() if not _over(job, header)}
    for path in known.keys() - stays.keys():
        sealed_models.drop(path)
    found = max(len(known), 0 if said is None else said.found)
    if not stays:
        return Counted("delete", found)
    _, end = job.ends(job.params.purge.keep_checkpoints_days)
    until = max(min(header.expires_at, end) for header in stays.values())
    return Counted("delete", found - len(stays), len(stays), until, "sealed_for_privacy_officer")


def _seals(job: Job) -> bool:
    over, _ = job.ends(job.params.purge.keep_checkpoints_days)
    return job.params.purge.old_checkpoints == "seal" and not over


def _over(job: Job, header: Header) -> bool:
    """Whether its time is over, or policy says by now that what is old is deleted."""
    over, _ = job.ends(job.params.purge.keep_checkpoints_days)
    deletes = job.params.purge.old_checkpoints == "delete"
    return over or deletes or datetime.fromisoformat(header.expires_at) <= job.now


def _known(job: Job) -> dict[Path, Header]:
    """The sealed checkpoints that learnt the batch's images: sealed by its own purge, or by that of a batch before it.

    What a later batch's purge sealed may have forgotten these, and is that batch's to count.
    """
    served = history.in_effect(job.lines)
    earlier = {job.batch.key, *served[: served.index(job.batch.key)]}
    good = forgetting(job)
    listed = sealed_models.listed(job.workspace, job.params.model.name)
    return {path: one for path, one in listed if one.batch in earlier and one.checkpoint not in good}


def _seal(job: Job, folder: Path, sha256: str | None) -> None:
    """Seal the checkpoint in a folder; once, under however many names it lies.

    Raises EvidenceError for one that is not what it was served or recorded as: it stays as it is.
    """
    model = job.params.model.name
    if sha256 is not None and _stands(job, sha256):
        return
    found = digests.of_folder(folder)
    digest = digests.of_listing(found)
    if digest != (sha256 or digest):
        raise EvidenceError(
            f"{folder}: hashes to {digest[:12]}, was recorded as {str(sha256)[:12]}; restore it to have it sealed, or "
            "purge with purge.old_checkpoints=delete"
        )
    if _stands(job, digest):
        return
    _, end = job.ends(job.params.purge.keep_checkpoints_days)
    told = {"batch": job.batch.key, "model": model, "expires_at": end, "sealed_at": purge.stamp(job.now)}
    sealed_models.store(job.workspace, folder, found, sealing_key.public(job.workspace), **told)
    job.log(Progress("purge", 0, 0, note=f"sealed {digest[:12]}, {sum(one.bytes for one in found)} bytes, until {end}"))


def _stands(job: Job, sha256: str) -> bool:
    """Whether a checkpoint is sealed already. Raises EvidenceError for a file that is cut off, or about another."""
    path = sealed_models.file(job.workspace, job.params.model.name, sha256)
    if not path.is_file():
        return False
    if sealed_models.header(path).checkpoint != sha256:
        raise EvidenceError(f"{path}: is about another checkpoint; restore it, or remove it to have it sealed again")
    return True
