"""Files of hashed assets that a purge takes out: listed with the sha256 they had, then removed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from unlearning import digests, files
from unlearning.data import index
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import lineage, purge
from unlearning.evidence.purge import Gone
from unlearning.workspace import BatchFolder

_ROLES = ("retain", "holdout")


def take_out(batch: BatchFolder, asset: str, wanted: Callable[[str], bool]) -> int:
    """Remove the files of an asset whose path is `wanted` and may go; how many went, in this call or an earlier one.

    Raises EvidenceError for a file that is not the recorded one: it is no evidence of anything, and stays.
    """
    try:
        record = lineage.read(batch, asset)
    except StorageError:
        return 0
    new = []
    for one in record.outputs:
        path = batch.asset(asset) / one.path
        if purge.may_go(asset, one.path) and wanted(one.path) and path.is_file():
            if digests.of_file(path) != one.sha256:
                raise EvidenceError(
                    f"{path}: is not the file that lineage/{asset}.json records; look at it before you purge"
                )
            new.append(Gone(asset, one.path, one.sha256, one.bytes, md5(path)))
    purge.list_out(batch, new)
    gone = [one for one in purge.taken_out(batch) if one.asset == asset and wanted(one.path)]
    for told in gone:
        (batch.asset(asset) / told.path).unlink(missing_ok=True)
    return len(gone)


def shows(batch: BatchFolder, forget: pa.Table) -> bool:
    """Whether the pages of a batch may show one of the images: it kept or held it out, or shows what it forgets."""
    try:
        shown = files.read_json(batch.certificate)["params"]["report"]["show_forget_images"] is True
    except (StorageError, KeyError, TypeError):
        shown = True  # nobody says that it does not
    roles = (*_ROLES, "forget") if shown else _ROLES
    paths: list[Path] = [getattr(batch, role) for role in roles]
    return any(_holds(path, forget) for path in paths if path.is_file())


def md5(path: Path) -> str:
    """DVC's name of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _holds(path: Path, forget: pa.Table) -> bool:
    """Whether a manifest names one of the images, under any key."""
    column = index.columns(path, "pixel_sha256")["pixel_sha256"]
    return bool(pc.any(pc.is_in(column, value_set=pc.unique(forget["pixel_sha256"]))).as_py())
