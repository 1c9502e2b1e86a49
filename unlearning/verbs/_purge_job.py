"""One purge: of which batch, when, and what it may remove. Refuses where somebody needs the images yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pyarrow as pa

from unlearning import files
from unlearning.data import manifest
from unlearning.errors import EvidenceError, ManifestError, RequestError, StorageError
from unlearning.evidence import history, promotion, purge
from unlearning.evidence.history import Row
from unlearning.evidence.purge import Location, Method
from unlearning.log import Log
from unlearning.params import Params
from unlearning.requests import queries, states
from unlearning.verbs import _ledger, _reviewed
from unlearning.workspace import BatchFolder, Workspace

_UNDER_WAY = ("scheduled", "unlearning", "evaluating", "ready")
_SERVED = frozenset({"promoted", "purging", "completed"})


@dataclass(frozen=True, slots=True)
class Counted:
    """What one location came to, over every call so far."""

    method: Method
    removed: int = 0
    remaining: int = 0
    expires_at: str | None = None
    why: str | None = None
    looked: bool = True  # False: nobody could look there


@dataclass(frozen=True, slots=True)
class Job:
    """What every location is given."""

    params: Params
    batch: BatchFolder
    log: Log
    now: datetime
    promoted_at: datetime
    lines: tuple[Row, ...]  # of the model's history
    forget: pa.Table  # what the batch forgot
    going: pa.Table  # the rows of it that may go now

    @property
    def workspace(self) -> Workspace:
        """The root."""
        return self.batch.workspace

    @property
    def dataset(self) -> str:
        """The data set that the images were stored in."""
        return self.params.data.name

    def ends(self, days: int) -> tuple[bool, str]:
        """Whether so many days since the promotion are over, and when they are."""
        end = self.promoted_at + timedelta(days=days)
        return self.now >= end, purge.stamp(end)


# What is said of a location so far (None: nothing) -> what it came to. Killed and called again, it ends the same.
Place: TypeAlias = Callable[[Job, Location | None], Counted]


def of(params: Params, batch: BatchFolder, log: Log, now: datetime) -> Job:
    """The purge of a batch. Raises EvidenceError, RequestError or ManifestError, with everything as it was."""
    lines = tuple(promotion.generations(batch.workspace, params.model.name))
    promoted_at = _promoted_at(batch, params, lines)
    _refuse_unsettled(params, batch)
    _refuse_under_way(params, batch)
    forget = manifest.read(batch.forget)
    ledger = _ledger.of(batch.workspace)
    held = int(_reviewed.held(ledger, params.data.name, forget).sum())
    if held:
        raise RequestError(
            f"batch {batch.key}: {held} of its images are under legal hold; `unlearning request release` ends one, and "
            "until then nothing of the batch is purged"
        )
    shared = [manifest.read(other.forget) for other in _needing(batch)]
    return Job(params, batch, log, now, promoted_at, lines, forget, manifest.minus(forget, *shared))


def promoted_at(lines: tuple[Row, ...], batch: BatchFolder) -> datetime | None:
    """When a batch was promoted; None where its forgetting does not stand in what is served now."""
    if batch.key not in history.in_effect(lines):
        return None
    mine = [row for row in lines if row["batch"] == batch.key and row["certificate_sha256"] is not None]
    said = next((row["at"] for row in mine if row.get("at") and row.get("rollback_of") is None), None)
    # Before moments were written into the history, the certificate's is the nearest.
    return datetime.fromisoformat(said or files.read_json(batch.certificate)["issued_at"])


def under_way(workspace: Workspace, dataset: str) -> list[str]:
    """The batches that were resolved on a data set and are neither served nor given up: they read its images."""
    ledger = _ledger.of(workspace)
    keys = {entry.batch for state in _UNDER_WAY for entry in ledger.listed(state=state) if entry.batch is not None}
    return sorted(key for key in keys if _dataset(workspace.batch(key)) == dataset)


def moment(now: datetime | None) -> datetime:
    """`now`, or the clock's, to the second."""
    return (now or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)


def _promoted_at(batch: BatchFolder, params: Params, lines: tuple[Row, ...]) -> datetime:
    found = promoted_at(lines, batch)
    if found is None:
        raise EvidenceError(
            f"batch {batch.key} does not stand in what is served as {params.model.name}: it was never promoted, or was "
            "rolled back; only what is forgotten for good is purged"
        )
    return found


def _refuse_unsettled(params: Params, batch: BatchFolder) -> None:
    """Raise RequestError where a request of the batch was not served, or another model has yet to forget it."""
    ledger = _ledger.of(batch.workspace)
    entries = [entry for entry in ledger.entries(batch.key) if entry.state not in states.LEFT_OUT]
    early = sorted({entry.state for entry in entries} - _SERVED)
    if early or not entries:
        raise RequestError(f"batch {batch.key}: its requests are {', '.join(early) or 'none'}; promoted is right")
    with ledger.reading() as db:
        owing = {} if db is None else queries.owed_by(db, entries)
        models = set() if db is None else queries.models_of(db, params.data.name)
    owed = sorted({model for named in owing.values() for model in named} & models)
    if owed:
        raise RequestError(
            f"batch {batch.key}: model {owed[0]} was trained on data set {params.data.name!r} too and has yet to "
            "forget these images; purge once it has"
        )


def _refuse_under_way(params: Params, batch: BatchFolder) -> None:
    others = [key for key in under_way(batch.workspace, params.data.name) if key != batch.key]
    if others:
        raise ManifestError(
            f"batch {others[0]} is on its way and reads data set {params.data.name!r}; purge once it is served, or "
            "given up"
        )


def _needing(batch: BatchFolder) -> list[BatchFolder]:
    """Batches that were served and not purged: what they forgot too is measured until they are."""
    ledger = _ledger.of(batch.workspace)
    return [
        other
        for other in batch.workspace.batches()
        if other.key != batch.key
        and other.forget.is_file()
        and not purge.begun(other)
        and any(entry.state == "promoted" for entry in ledger.entries(other.key))
    ]


def _dataset(batch: BatchFolder) -> str | None:
    try:
        return str(files.read_json(batch.asset("forget_manifest") / "resolution.json")["dataset"])
    except (StorageError, KeyError, TypeError):
        return None
