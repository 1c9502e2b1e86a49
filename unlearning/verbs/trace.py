"""`unlearning trace KEY_OR_HASH`: everything in which a sample, a request or an artefact ever stood. Reads files only.

From a sample key, the sha256 of its stored bytes or of its pixels: data set, requests, manifests, checkpoints,
certificates and served versions. From a request id: the same of what it covers. From the sha256 of a checkpoint, a
certificate, or of any other file that a batch recorded: its batch, requests and inputs, and where it was served.
What an open request will cover is not known before its batch is resolved, and is not said here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unlearning import files
from unlearning.data import index
from unlearning.errors import DataError, EvidenceError, StorageError
from unlearning.evidence import history, promotion
from unlearning.evidence.history import Row
from unlearning.requests.ledger import Ledger
from unlearning.verbs import _ledger, _trace_batch
from unlearning.verbs._trace_batch import Stood
from unlearning.workspace import Workspace

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-f]{12,64}")
_IMAGE = ("dataset", "key", "split", "sha256", "pixel_sha256")


def run(what: str, workspace: Workspace) -> dict[str, Any]:
    """{asked, kind: sample | request | artefact, …}. Raises DataError where nothing here is called so."""
    ledger = _ledger.of(workspace)
    images = _images(what, workspace)
    if images:
        return _of_sample(what, images, workspace, ledger)
    if ledger.find(what):
        return _of_request(what, workspace, ledger)
    if _SHORT.fullmatch(what):
        found = _of_artefact(what, workspace)
        if found is not None:
            return found
    images = _no_longer_stored(what, workspace)
    if images:
        return _of_sample(what, images, workspace, ledger)
    raise DataError(
        f"{what[:80]!r} is no sample key, request id, or sha256 of an image, checkpoint, certificate or other recorded "
        f"file under {workspace.root}"
    )


def _images(what: str, workspace: Workspace) -> list[dict[str, Any]]:
    """The stored rows of that key or digest, in every data set."""
    return [
        {**row, "stored": True}
        for path in sorted((workspace.root / "data").glob("*/index.parquet"))
        for row in _rows(path, what)
    ]


def _no_longer_stored(what: str, workspace: Workspace) -> list[dict[str, Any]]:
    """The rows of manifests of that key or digest: what was purged, or left out of a later ingest."""
    found = {
        (row["dataset"], row["key"]): {**row, "stored": False}
        for batch in workspace.batches()
        for path in _trace_batch.manifests(batch)
        for row in _rows(path, what)
    }
    return [found[place] for place in sorted(found)]


def _rows(path: Path, what: str) -> list[dict[str, Any]]:
    by = ("sha256", "pixel_sha256") if _DIGEST.fullmatch(what) else ("key",)
    rows: list[dict[str, Any]] = index.columns(path, *_IMAGE, filters=[[(name, "=", what)] for name in by]).to_pylist()
    return rows


def _of_sample(what: str, images: list[dict[str, Any]], workspace: Workspace, ledger: Ledger) -> dict[str, Any]:
    keys = [(one["dataset"], one["key"]) for one in images]
    stood = {
        batch.key: found for batch in workspace.batches() if (found := _trace_batch.of_images(batch, keys)) is not None
    }
    ids = sorted({one for found in stood.values() for one in found.requests})
    return {
        "asked": what,
        "kind": "sample",
        "images": images,
        "requests": [told for one in ids for told in _request(one, ledger)],
        **_batches(stood, workspace),
    }


def _of_request(what: str, workspace: Workspace, ledger: Ledger) -> dict[str, Any]:
    told = _request(what, ledger)
    keys = sorted({task["batch"] for one in told for task in one["tasks"] if task["batch"] is not None})
    stood = {key: _trace_batch.of_request(workspace.batch(key), what) for key in keys}
    return {"asked": what, "kind": "request", "requests": told, **_batches(stood, workspace)}


def _of_artefact(sha256: str, workspace: Workspace) -> dict[str, Any] | None:
    found = {batch.key: named for batch in workspace.batches() if (named := _trace_batch.named(batch, sha256))}
    served = [
        {**one, "model": model}
        for model, lines in _histories(workspace).items()
        for one in _versions(lines, ())
        if sha256[:12] in (str(one["sha256"])[:12], str(one["certificate_sha256"])[:12])
    ]
    if not found and not served:
        return None
    batches = [{**_trace_batch.described(workspace.batch(key), None), "named": one} for key, one in found.items()]
    return {"asked": sha256, "kind": "artefact", "batches": _with_runs(batches, workspace), "served": served}


def _request(request_id: str, ledger: Ledger) -> list[dict[str, Any]]:
    """The request of every controller that uses the id, and each task of it."""
    found: dict[str, dict[str, Any]] = {}
    for entry in ledger.find(request_id):
        tasks = [
            {"model": task.model, "attempt": task.attempt, "batch": task.batch, "state": task.state}
            for task in ledger.tasks(entry)
        ]
        shown = {name: entry.receipt[name] for name in ("controller_id", "request_id", "received_at", "due_at")}
        found[entry.controller_id] = {**shown, "state": entry.state, "tasks": tasks}
    return list(found.values())


def _batches(stood: dict[str, Stood], workspace: Workspace) -> dict[str, Any]:
    """{batches, served}: each batch, and every version of its model, with whether it forgot what was asked about."""
    batches = [_trace_batch.described(workspace.batch(key), found) for key, found in stood.items()]
    forgot = {key for key, found in stood.items() if "forget" in found.roles}
    models = {one["model"] for one in batches if one["model"] is not None}
    served = [
        {**one, "model": model}
        for model, lines in _histories(workspace).items()
        if model in models
        for one in _versions(lines, tuple(forgot))
    ]
    return {"batches": _with_runs(batches, workspace), "served": served}


def _histories(workspace: Workspace) -> dict[str, Sequence[Row]]:
    """Model -> the lines of its history; of one whose chain is broken, none: `promote` says why."""
    found: dict[str, Sequence[Row]] = {}
    home = workspace.root / "models"
    for path in sorted(home.iterdir()) if home.is_dir() else []:
        try:
            found[path.name] = promotion.generations(workspace, path.name)
        except (EvidenceError, StorageError):
            found[path.name] = ()
    return found


def _versions(lines: Sequence[Row], forgot: Sequence[str]) -> list[dict[str, Any]]:
    shown = ("version", "sha256", "batch", "certificate_sha256", "rollback_of", "at")
    return [
        {
            **{name: row.get(name) for name in shown},
            "forgotten_by": [batch for batch in history.in_effect(lines, row["version"]) if batch in forgot],
        }
        for row in lines
    ]


def _with_runs(batches: list[dict[str, Any]], workspace: Workspace) -> list[dict[str, Any]]:
    """With the ids of the runs that made them, as far as lineage events were written to a file."""
    path = workspace.root / "openlineage" / "events.jsonl"
    runs: dict[str, set[str]] = {one["batch"]: set() for one in batches}
    if path.is_file():
        with path.open() as lines:
            for line in lines:
                if any(f'"{key}"' in line for key in runs):
                    _note_run(line, runs)
    return [{**one, "runs": sorted(runs[one["batch"]])} for one in batches]


def _note_run(line: str, runs: dict[str, set[str]]) -> None:
    try:
        facets = files.parse_json(line, "events.jsonl")["run"]["facets"]
        runs[facets["unlearning"]["batch"]].add(str(facets["unlearning"]["orchestrator_run_id"]))
    except (StorageError, KeyError, TypeError):
        return  # a torn line, or another's event
