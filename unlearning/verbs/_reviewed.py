"""What of the resolved requests may be forgotten at once, and what waits: near duplicates, caps, legal holds."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from unlearning import files
from unlearning.data import neighbours
from unlearning.errors import StorageError
from unlearning.params import Params
from unlearning.requests import proposals, queries, resolution
from unlearning.requests.ledger import Entry, Ledger
from unlearning.requests.resolution import Found, Rows
from unlearning.requests.resolution_review import NOTHING, Asked, Review, Reviewed
from unlearning.requests.schema import Request
from unlearning.verbs import _ledger
from unlearning.workspace import BatchFolder, Workspace

_OPEN = frozenset({"resolving", "in_review"})  # states in which a task's manifest is not frozen


def reviews(
    params: Params, batch: BatchFolder, table: pa.Table, entries: list[Entry], requests: list[Request]
) -> list[Reviewed]:
    """What becomes of each request, in order. Raises DataError where near duplicates are asked for and not measured."""
    ledger = _ledger.of(batch.workspace)
    found, frozen = resolution.resolve(requests, table), _frozen(batch)
    near = _near(params, batch.workspace, requests, found)
    review = Review(table, params.data.name, params.resolve, held(ledger, params.data.name, table))
    return [
        review(Asked(request, one, rows, _decided(entry, frozen), partial(ledger.approved, entry)))
        for entry, request, one, rows in zip(entries, requests, found, near, strict=True)
    ]


def propose(batch: BatchFolder, table: pa.Table, entries: list[Entry], reviewed: list[Reviewed]) -> None:
    """Lay every open proposal of the batch before an officer."""
    for entry, one in zip(entries, reviewed, strict=True):
        if one.state == "in_review":
            method = entry.request.near_duplicates.method
            proposals.write(batch.workspace, entry, batch.key, method, one, table)


def said(request: Request, one: Reviewed) -> dict[str, Any]:
    """What resolution.json adds for one request: nothing where there was nothing to review."""
    wanted, found = request.near_duplicates, dict[str, Any]()
    if wanted.mode != "off":
        found[wanted.method] = len(one.near)
        found["near_duplicates"] = {"mode": wanted.mode, "digest": one.near_digest, "accepted_by": one.accepted_by}
    if one.state == "in_review":
        found["review"] = proposals.said(one)
    if one.same_rows_as is not None:
        found["same_rows_as"] = one.same_rows_as
    return found


def _decided(entry: Entry, frozen: set[tuple[str, str]]) -> bool:
    """Whether the task was forgotten for, or was to be, before. One may fail before anybody looked at its images."""
    if entry.state == "failed":
        return (entry.controller_id, entry.request_id) in frozen
    return entry.state not in _OPEN


def _frozen(batch: BatchFolder) -> set[tuple[str, str]]:
    """The requests that the batch's manifest covers, where it has one."""
    try:
        said = files.read_json(batch.asset("forget_manifest") / "resolution.json")["requests"]
    except StorageError:
        return set()
    return {(one["controller_id"], one["request_id"]) for one in said if one["state"] == "scheduled"}


def _near(params: Params, workspace: Workspace, requests: list[Request], found: list[Found]) -> list[Rows]:
    """The near duplicates of each request's seeds. Each method and threshold is searched once."""
    asking = defaultdict[tuple[str, float], list[int]](list)
    for place, (request, one) in enumerate(zip(requests, found, strict=True)):
        if len(one.seeds):
            asking[request.near_duplicates.method, request.near_duplicates.threshold].append(place)
    near = [NOTHING] * len(found)
    for (method, threshold), places in asking.items():
        seeds = neighbours.union([found[place].seeds for place in places])
        of_seed = _search(params, workspace, method, seeds, threshold)
        for place in places:
            rows = np.searchsorted(seeds, found[place].seeds)
            near[place] = neighbours.union([of_seed[row] for row in rows.tolist()])
    return near


def _search(params: Params, workspace: Workspace, method: str, seeds: Rows, threshold: float) -> list[Rows]:
    name = params.data.name
    if method == "perceptual":
        hashes = neighbours.hashes(workspace, name)
        return neighbours.near_by_hash(hashes, hashes[seeds], int(threshold))
    features = neighbours.features(workspace, name, params.resolve.near_duplicates.extractor)
    return neighbours.near_by_feature(features, seeds, threshold)


def held(ledger: Ledger, dataset: str, table: pa.Table) -> npt.NDArray[np.bool_]:
    """[N], rows that a request under legal hold covers."""
    rows = np.zeros(len(table), dtype=bool)
    with ledger.reading() as db:
        held = [] if db is None else [one.request for one in queries.held(db, dataset)]
    for one in resolution.resolve(held, table) if held else ():
        rows[one.covered] = True
    return rows
