"""Sequential truth: what was forgotten under a model before, by which batch. No torch.

A batch starts from the model that earlier batches made. An image that one of them forgot is still stored, and is no
image to forget of this batch: whoever keeps, holds out or trains must leave it out all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from unlearning import digests, files
from unlearning.data import manifest
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import history, lineage, promotion, purge
from unlearning.params import Params
from unlearning.verbs import _ledger
from unlearning.workspace import BatchFolder

FORGOTTEN = frozenset({"promoted", "purging", "completed"})  # states of a request whose batch was served


@dataclass(frozen=True, slots=True)
class Served:
    """A batch that was served under this model's name, and the sha256 of its forget manifest."""

    batch: BatchFolder
    sha256: str
    purged: dict[str, str] | None = None  # once its images are gone: sha256 of its record, the batch that measured last

    def as_json(self) -> dict[str, Any]:
        """{batch, sha256}, and `purged` of one whose images are gone."""
        told = {"batch": self.batch.key, "sha256": self.sha256}
        return told if self.purged is None else {**told, "purged": self.purged}


def before(params: Params, batch: BatchFolder) -> list[Served]:
    """Every other batch whose forgetting stands in the served model, by key.

    Once the batch itself was served: those that it knew of then, because what came after it was not before it.
    Raises EvidenceError where a forget manifest is not the recorded one, or the history of the model does not hold.
    """
    ledger, lines = _ledger.of(batch.workspace), promotion.generations(batch.workspace, params.model.name)
    standing, gone = history.in_effect(lines), history.undone(lines)
    found = []
    for other in batch.workspace.batches():
        try:
            certified_for = files.read_json(other.certificate)["params"]["model"]["name"]
        except (StorageError, KeyError, TypeError):
            continue
        if other.key in gone:
            continue
        served = other.key in standing or any(entry.state in FORGOTTEN for entry in ledger.entries(other.key))
        if other.key != batch.key and certified_for == params.model.name and served:
            found.append(Served(other, _manifest(other)))
    there = {one.batch.key for one in found} | {batch.key}
    lost = [key for key in standing if key not in there]
    if lost:
        raise EvidenceError(
            f"{batch.workspace.batch(lost[0]).path}: batch {lost[0]} was forgotten under this model, and its "
            "certificate cannot be read; restore its folder, for its images must be left out from now on"
        )
    return [_purged(one, standing) for one in found]


def was_served(batch: BatchFolder) -> bool:
    """Whether the batch's own result was served, and not rolled back."""
    return any(entry.state in FORGOTTEN for entry in _ledger.of(batch.workspace).entries(batch.key))


def rows(served: list[Served]) -> pa.Table | None:
    """What they forgot, each image once; None of none."""
    tables = [manifest.read(one.batch.forget).drop_columns(["requests"]) for one in served]
    union: pa.Table | None = None
    for table in tables:
        union = table if union is None else pa.concat_tables([union, manifest.minus(table, union)])
    return union


def forgotten(batch: BatchFolder) -> list[pa.Table]:
    """The forget manifest of the batch, and what was forgotten before it where anything was."""
    tables = [manifest.read(batch.forget)]
    return [*tables, manifest.read(batch.earlier)] if batch.earlier.is_file() else tables


def near_to_purged(batch: BatchFolder) -> list[pa.Table]:
    """Rows that a purge left and that are near to what it removed: they would teach it again.

    Of every batch whose purge this batch's manifest knows of. Raises StorageError where it is not resolved.
    """
    told = files.read_json(batch.asset("forget_manifest") / "resolution.json").get("earlier", [])
    others = [batch.workspace.batch(one["batch"]) for one in told]
    return [manifest.read(path) for other in others if (path := purge.near(other)).is_file()]


def _purged(one: Served, standing: Sequence[str]) -> Served:
    """With what its purge record says, once nothing is kept of it to measure."""
    record = purge.read(one.batch)
    kept = None if record is None else record.at(purge.KEPT)
    if record is None or (kept is not None and kept.remaining):
        return one
    last = one.batch.key
    for key in standing:
        if key != last and one.batch.key in _measured(one.batch.workspace.batch(key)):
            last = key
    told = {"record_sha256": digests.of_file(purge.file(one.batch)), "last_measured": last}
    return Served(one.batch, one.sha256, told)


def _measured(other: BatchFolder) -> set[str]:
    """The earlier batches whose images that batch's report measured."""
    try:
        block = files.read_json(other.report).get("earlier") or {}
        return {one["batch"] for one in block.get("batches", ()) if one.get("sets")}
    except (StorageError, KeyError, TypeError, AttributeError):
        return set()


def _manifest(other: BatchFolder) -> str:
    try:
        record = lineage.read(other, "forget_manifest")
        if lineage.intact(record, other):
            return record.sha256
    except StorageError:
        pass
    raise EvidenceError(
        f"{other.asset('forget_manifest')}: batch {other.key} was forgotten under this model, and its forget manifest "
        f"is not the recorded one; restore it, for its images must be left out from now on"
    )
