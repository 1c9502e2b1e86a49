"""Objects of a DVC cache or of a remote that is a folder: the exact ones that hold what was taken out, by their md5.

`dvc gc` works on a whole workspace and would remove what other branches and machines still name; an object that was
named by one removed file alone is removed by its name. An object whose bytes stand in an asset today stays.
"""

from __future__ import annotations

from pathlib import Path

from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import lineage, purge
from unlearning.evidence.purge import Location
from unlearning.settings import Settings
from unlearning.stages import STAGES
from unlearning.verbs._purge_job import Counted, Job
from unlearning.workspace import Workspace


def cache(job: Job, said: Location | None) -> Counted:
    """<root>/dvc/cache."""
    return _cleared(job, job.workspace.root / "dvc" / "cache", said)


def remote(job: Job, said: Location | None) -> Counted:
    """<root>/dvc/remote, where no other remote is named; of another one nothing is known here."""
    if Settings().dvc_remote is not None:
        return Counted("none", 0 if said is None else said.removed, why="not_reached", looked=False)
    return _cleared(job, job.workspace.root / "dvc" / "remote", said)


def _cleared(job: Job, home: Path, said: Location | None) -> Counted:
    removed = 0
    for md5 in sorted(gone(job.workspace)):
        for path in (home / "files" / "md5" / md5[:2] / md5[2:], home / md5[:2] / md5[2:]):  # the second: DVC before 3
            if path.is_file():
                path.unlink()
                removed += 1
    return Counted("delete", removed + (0 if said is None else said.removed))


def gone(workspace: Workspace) -> set[str]:
    """md5 of everything that was ever taken out and whose bytes no asset holds today."""
    taken = [one for batch in workspace.batches() for one in purge.taken_out(batch)]
    away = {(one.sha256, one.md5) for one in taken}
    if not away:
        return set()
    held = set[str]()
    for batch in workspace.batches():
        out = {(one.asset, one.path) for one in purge.taken_out(batch)}
        for asset in STAGES:
            try:
                outputs = lineage.read(batch, asset).outputs
            except (StorageError, EvidenceError):
                continue
            held |= {one.sha256 for one in outputs if (asset, one.path) not in out}
    return {md5 for sha256, md5 in away if sha256 not in held}
