"""How well the images of an earlier batch were known, and how far forgotten, when that batch was certified.

Its per_image.parquet has every error of its own evaluation. Where that was made as this one is (corruption, seeds,
error), the images are measured again in the same holes, and the recorded errors stand beside the new ones row by row:
a model that has not changed since gives the same score. Where it was made otherwise, or is not whole any more, the two
models of then are measured again, if they still lie there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unlearning import files
from unlearning.data import manifest, relocation
from unlearning.errors import DataError, EvidenceError, StorageError, UnlearningError
from unlearning.evidence import lineage, purge
from unlearning.verbs._measure import MEAN_PICTURE
from unlearning.workspace import BatchFolder, Workspace

SETS = {"forget": "train", "forget_holdout": "holdout"}  # set of an evaluation -> split of its images
ROLES = ("original", "unlearned", MEAN_PICTURE)


@dataclass(frozen=True, slots=True)
class Like:
    """What two evaluations must share, so that errors of the one may stand beside errors of the other."""

    corruption: dict[str, Any]
    seeds: list[int]
    measure: str  # mse | surprise

    def holds(self, report: dict[str, Any]) -> bool:
        """Whether the report was made so."""
        theirs = (report.get("corruption"), report.get("seeds"), report.get("measure", "mse"))
        return theirs == (self.corruption, self.seeds, self.measure)


@dataclass(frozen=True, slots=True)
class Then:
    """One set of an earlier batch."""

    table: pa.Table  # N rows of its forget manifest, in the order they were measured in
    errors: dict[str, np.ndarray] | None  # model -> [N, S] float64, as recorded; None: to be measured again


def forgotten(batch: BatchFolder, sha256: str) -> pa.Table:
    """Its forget manifest. Raises EvidenceError unless it is the one that was recorded as forgotten before."""
    try:
        record = lineage.read(batch, "forget_manifest")
        if record.sha256 == sha256 and lineage.intact(record, batch):
            return manifest.read(batch.forget)
    except StorageError:
        pass
    raise EvidenceError(f"its forget manifest is not the one that was recorded ({sha256[:12]})")


def images(batch: BatchFolder, table: pa.Table) -> tuple[pa.Table, Workspace]:
    """Rows of its forget manifest, and the root they are read from: ours, or what its purge kept for measuring.

    Raises DataError where one is no longer stored.
    """
    kept = purge.kept(batch).is_dir()
    home = Workspace(purge.kept(batch)) if kept else batch.workspace
    found = relocation.found(table, home) if kept else relocation.stored(table, home)
    if len(found) != len(table):
        gone = len(table) - len(found)
        raise DataError(f"{gone} of the {len(table)} images of batch {batch.key} were purged, and none of them is kept")
    return found, home


def recorded(batch: BatchFolder, forget: pa.Table, like: Like) -> dict[str, Then] | None:
    """Set -> what was measured of it; None where the certified report is not whole, or was made otherwise."""
    try:
        record = lineage.read(batch, "evaluation_report")
        certified = files.read_json(batch.certificate)["assets"]["evaluation_report"]["sha256"]
        if (
            record.sha256 != certified
            or not lineage.intact(record, batch)
            or not like.holds(files.read_json(batch.report))
        ):
            return None
        found = {name: _set(batch, forget, name, like) for name in SETS}
    except (UnlearningError, OSError, KeyError, TypeError, ValueError, pa.ArrowException):
        return None
    return {name: then for name, then in found.items() if then is not None}


def unmeasured(forget: pa.Table) -> dict[str, Then]:
    """Set -> its images, all of them."""
    parts = {name: manifest.only(forget, split) for name, split in SETS.items()}
    return {name: Then(table, None) for name, table in parts.items() if len(table)}


def _set(batch: BatchFolder, forget: pa.Table, name: str, like: Like) -> Then | None:
    path = batch.report.with_name("per_image.parquet")
    if not path.is_file():  # taken out by a purge, and kept as long as the images are
        path = purge.kept(batch) / path.name
    read = pq.read_table(path, columns=["key", "model", "draw", like.measure], filters=[("set", "=", name)])
    if not len(read):
        return None
    count = len(like.seeds)
    keys, errors = None, {}
    for role in ROLES:
        rows = read.filter(pc.equal(read["model"], role))
        order = rows["key"].to_pylist()[::count]
        if keys not in (None, order) or rows["draw"].to_pylist() != list(range(count)) * len(order):
            raise EvidenceError(f"{path}: its rows of {name} are not an image's draws, one after the other")
        keys, errors[role] = order, rows[like.measure].to_numpy().reshape(-1, count)
    places = pc.index_in(pa.array(keys), forget["key"].combine_chunks())
    if places.null_count:
        raise EvidenceError(f"{path}: measures {places.null_count} images that are not in the forget manifest")
    return Then(forget.take(places), errors)
