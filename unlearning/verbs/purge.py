"""`unlearning purge BATCH`: remove every stored copy of what a promoted batch forgot, and say what is left.

A place after the other is cleared and written down; a purge that was killed anywhere is finished by the same call, and
one that is complete is looked over again. Then everything below the root is read, whatever it is, for copies that stood
in none of the places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import unlearning
from unlearning import files
from unlearning.data import purging, scanning, tombstones
from unlearning.data.scanning import Scanned
from unlearning.errors import EvidenceError
from unlearning.evidence import lineage, purge
from unlearning.evidence.purge import Gone, Location, Purged, Scan
from unlearning.log import Log, Progress
from unlearning.params import Params
from unlearning.requests.inbox import Inbox
from unlearning.settings import Settings
from unlearning.verbs import _ledger, _purge_job, _purge_sealed, attest
from unlearning.verbs._purge_job import Counted, Job, Place
from unlearning.verbs._purge_places import PLACES
from unlearning.workspace import BatchFolder, Workspace

MLFLOW = "mlflow_artifacts"


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it."""

    record: Purged
    changed: bool  # False: everything was as it was said to be


def run(
    params: Params,
    batch: BatchFolder,
    log: Log,
    now: datetime | None = None,
    outside: Mapping[str, Place] | None = None,
) -> Done:
    """Clear every place, look everything over, and bring the ledger to `completed` where nothing is left.

    now      of this call; default: the clock's
    outside  places that only the caller reaches: MLflow, a DVC remote that is no folder
    Raises EvidenceError, RequestError or ManifestError before anything is removed, StorageError where the data set or
    the batch is being used now.
    """
    name = params.data.name
    with files.locked(batch.path / ".locks" / "purge", f"the purge of batch {batch.key}"):
        job = _purge_job.of(params, batch, log, _purge_job.moment(now))
        sealed = _purge_sealed.place(job, purge.under_way(batch) or purge.read(batch))
        if not purge.begun(batch):
            tombstones.add(batch.workspace, batch.key, job.forget, params.tombstones.perceptual_within)
        with files.locked(purging.lock(batch.workspace, name), f"data set {name}"):
            done = _cleared(job, {**sealed, **PLACES, MLFLOW: _mlflow, **(outside or {})})
    attest.run(params, batch, log)
    return done


def scan(workspace: Workspace, roots: Sequence[Path], log: Log) -> Scanned:
    """Look below the roots for what purged batches had forgotten. Raises EvidenceError where nothing was purged yet."""
    gone = tombstones.read(workspace, {batch.key for batch in workspace.batches() if purge.begun(batch)})
    if gone is None:
        raise EvidenceError(f"{workspace.root}: no batch was purged yet, so there is nothing to look for")
    return scanning.scan(roots, gone, log, _not_scanned(workspace))


def recorded_elsewhere(workspace: Workspace) -> list[tuple[BatchFolder, Gone]]:
    """Files that purges took out and that a tracking server was given, too: pages, figures, and served weights."""
    weights = ("unlearned_checkpoint", "model.safetensors")
    pictures = [("evaluation_report", path) for path in ("report.html", "figures/pictures.png")]
    return [
        (batch, one)
        for batch in workspace.batches()
        for one in purge.taken_out(batch)
        if (one.asset, one.path) in (weights, *pictures)
    ]


def _cleared(job: Job, places: Mapping[str, Place]) -> Done:
    before = purge.read(job.batch)
    record = purge.under_way(job.batch) or before or _begun(job)
    if before is None:
        purge.note(job.batch, record)  # from here on the batch is closed
    _ledger.of(job.workspace).end(job.batch.key, "promoted", "purging", "purge_begun")
    for number, (code, place) in enumerate(places.items()):
        job.log(Progress("purge", number, len(places), note=f"purge {code}"))
        said = record.at(code)
        found = _location(code, place(job, said), said, job.now)
        if found != said:
            record = replace(record, locations=_with(record.locations, found))
            purge.note(job.batch, record)
    looked = _looked_over(job)
    after = replace(record, scan=looked, status=purge.status(record.locations, looked))
    same = before is not None and _said(after) == _said(before)
    if same:
        purge.end(job.batch)
    else:
        after = replace(after, finished_at=purge.stamp(job.now))
        purge.write(job.batch, after)
    if after.status == "complete" and not after.expires:
        _ledger.of(job.workspace).end(job.batch.key, "purging", "completed", "purged")
    job.log(Progress("purge", len(places), len(places), note=f"{after.status}, {looked.hits} copies found afterwards"))
    return Done(after if before is None or not same else before, not same)


def _begun(job: Job) -> Purged:
    tool = {"name": "unlearning", "version": unlearning.__version__, "code": lineage.code_identity()}
    at = purge.stamp(job.now)
    return Purged(job.batch.key, job.params.model.name, "partial", at, at, tool, (), Scan())


def _location(code: str, counted: Counted, said: Location | None, now: datetime) -> Location:
    """What is said of a place from now on; the same as before where nothing has changed, its moment included."""
    found = counted.removed + counted.remaining
    counts = (code, counted.method, found, counted.removed, counted.remaining)
    at = purge.stamp(now) if counted.looked else None
    new = Location(*counts, at, counted.expires_at, counted.why)
    return said if said is not None and replace(new, verified_at=said.verified_at) == said else new


def _with(locations: Sequence[Location], one: Location) -> tuple[Location, ...]:
    """In its place, or behind the others."""
    if any(old.location == one.location for old in locations):
        return tuple(one if old.location == one.location else old for old in locations)
    return (*locations, one)


def _said(record: Purged) -> tuple[object, ...]:
    """All but moments and sizes: what makes two records say the same."""
    return record.status, record.locations, record.scan.hits


def _looked_over(job: Job) -> Scan:
    """Everything below the root, and the inbox where it is a folder elsewhere."""
    gone = tombstones.read(job.workspace, {job.batch.key})
    if gone is None:
        raise EvidenceError(
            f"batch {job.batch.key}: its tombstones are gone, and nothing can be looked for; restore them"
        )
    place = Settings().inbox
    door = None if place is None else Inbox(place)
    roots = [job.workspace.root, *([] if door is None or not door.local else [Path(door.home)])]
    found = scanning.scan(roots, gone, job.log, _not_scanned(job.workspace))
    return Scan(found.files, found.bytes, len(found.hits))


def _not_scanned(workspace: Workspace) -> list[Path]:
    """What is kept for measuring stands in its batch's record; keys are nobody's picture."""
    return [workspace.root / "keys", *(purge.kept(batch) for batch in workspace.batches())]


def _mlflow(job: Job, said: Location | None) -> Counted:
    """Where MLflow is used, only the job `purge` reaches it: what was recorded there and is taken out here, is left."""
    if said is not None and said.verified_at is not None:
        return Counted(said.method, said.removed, said.remaining, said.expires_at, said.why)
    used = Settings().mlflow_uri is not None or (job.workspace.root / "mlflow").is_dir()
    left = len(recorded_elsewhere(job.workspace)) if used else 0
    return Counted("none", 0, left, None, "run_the_job_purge" if left else None, looked=not used)
