"""What waits for an officer's word: counts and digests in one file, the keys themselves in another beside it.

<root>/proposals/<controller>.<request>.<model>.json       {"proposals": [{"what", "reason", "digest", "images"}]}
<root>/proposals/<controller>.<request>.<model>.parquet    what, key, tier: for the officer; it may be erased
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unlearning import files
from unlearning.errors import EvidenceError, StorageError
from unlearning.requests.entry import Entry
from unlearning.requests.resolution_review import NEAR, Proposal, Reviewed
from unlearning.workspace import Workspace

SCHEMA = "proposal/1"


def write(workspace: Workspace, entry: Entry, batch: str, method: str, reviewed: Reviewed, index: pa.Table) -> None:
    """Lay the open proposals of one task before the officer. Again: the same bytes."""
    path = _path(workspace, entry)
    columns: dict[str, list[str]] = {"what": [], "key": [], "tier": []}
    for one in reviewed.open:
        keys = index["key"].take(one.rows).to_pylist()
        columns["what"] += [one.what] * len(keys)
        columns["key"] += keys
        columns["tier"] += _tiers(one, reviewed, method)
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd", version="2.6")
    # The keys first: whoever reads that something is proposed finds what.
    files.write_bytes(path.with_name(f"{path.name.removesuffix('.json')}.parquet"), sink.getvalue())
    files.write_json(path, {"schema": SCHEMA, "batch": batch, "model": entry.model, "proposals": said(reviewed)})


def said(reviewed: Reviewed) -> list[dict[str, Any]]:
    """The open proposals without a key."""
    return [
        {"what": one.what, "reason": one.reason, "digest": one.digest, "images": len(one.rows)} for one in reviewed.open
    ]


def read(workspace: Workspace, task: Entry) -> list[dict[str, Any]]:
    """What was last proposed for a task; none where no file says so. Raises EvidenceError for a file that is none."""
    path = _path(workspace, task)
    if not path.is_file():
        return []
    try:
        tree = files.read_json(path)
        if tree["schema"] == SCHEMA:
            return [{"what": str(one["what"]), **one} for one in tree["proposals"] if isinstance(one["digest"], str)]
    except (StorageError, KeyError, TypeError):
        pass
    raise EvidenceError(f"{path}: not a {SCHEMA}; remove it, call the request's batch off or resolve another")


def drop(workspace: Workspace, task: Entry) -> int:
    """Remove what was proposed for a task, its keys first; how many files went."""
    path, went = _path(workspace, task), 0
    for written in (path.with_name(f"{path.name.removesuffix('.json')}.parquet"), path):
        if written.is_file():
            written.unlink()
            went += 1
    return went


def _tiers(proposal: Proposal, reviewed: Reviewed, method: str) -> list[str]:
    """How each image came in: `selected`, `same_pixels`, or the method that found it near."""
    if proposal.what == NEAR:
        return [method] * len(proposal.rows)
    named, covered = (np.isin(proposal.rows, rows) for rows in (reviewed.found.selected, reviewed.found.covered))
    return np.where(named, "selected", np.where(covered, "same_pixels", method)).tolist()  # type: ignore[no-any-return]


def _path(workspace: Workspace, entry: Entry) -> Path:
    # Plain names all three: the schema of requests and that of parameters see to it.
    return workspace.root / "proposals" / f"{entry.controller_id}.{entry.request_id}.{entry.model}.json"
