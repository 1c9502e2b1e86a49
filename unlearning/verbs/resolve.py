"""forget_manifest: which stored images the sealed requests cover."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from unlearning import files
from unlearning.data import index, manifest
from unlearning.errors import EvidenceError, ManifestError, RequestError, StorageError
from unlearning.evidence import lineage, purge
from unlearning.evidence.lineage import Record
from unlearning.log import Log
from unlearning.params import Params
from unlearning.requests import freezing, resolution, states
from unlearning.requests.ledger import Entry, Ledger
from unlearning.requests.resolution_review import Reviewed, scheduled
from unlearning.requests.schema import Request
from unlearning.verbs import _asset, _ledger, _reviewed, _served, attest
from unlearning.verbs._served import Served
from unlearning.workspace import BatchFolder

_REASONS = {"not_found": "no_stored_image_matches", "scheduled": "manifest_frozen"}


def run(params: Params, batch: BatchFolder, log: Log) -> Record:
    """Write forget.parquet and resolution.json, and earlier.parquet: what earlier batches of the model forgot.

    A request that matches nothing becomes `not_found`, one that needs somebody's word `in_review`; if no other is left,
    RequestError: there is nothing to forget. RequestError too where nothing would be left to retain, and ManifestError
    where the batch was resolved to other rows before; ledger and files are then as before.
    """
    ledger = _ledger.of(batch.workspace)

    def fill(folder: Path, key: str) -> dict[str, Any]:
        table = index.read(batch.workspace.dataset(params.data.name))
        entries = _live(ledger, batch)
        requests = [entry.request for entry in entries]
        found = _reviewed.reviews(params, batch, table, entries, requests)
        if not scheduled(found):
            _end(params, batch, table, entries, found, log)
        forget = resolution.forget_table(scheduled(found), table)
        _refuse_other_rows(forget, batch)
        _reviewed.propose(batch, table, entries, found)
        manifest.write(folder / "forget.parquet", forget)
        earlier = _served.rows(served)
        if earlier is not None:
            manifest.write(folder / "earlier.parquet", earlier)
        for one in served:
            if one.purged is not None:  # its record, which lies here from now on, proves why it cannot be measured
                files.write_bytes(folder / "purged" / f"{one.batch.key}.json", purge.file(one.batch).read_bytes())
        said = _resolution(params, batch, table, forget, entries, requests, found)
        said |= {"earlier": [one.as_json() for one in served]} if served else {}
        files.write_json(folder / "resolution.json", said)
        return {
            "forget": len(forget),
            **({} if earlier is None else {"forgotten_earlier": len(earlier)}),
            "splits": dict(Counter(forget["split"].to_pylist())),
            **{"not_found": 0, **Counter(one.state for one in found if one.state != "scheduled")},
        }

    served = _earlier(params, batch)
    record = _asset.make("forget_manifest", params, batch, log, fill)
    while not freezing.freeze(ledger, batch.key, _said(batch)):  # a request was held or called off meanwhile
        batch.lineage("forget_manifest").unlink(missing_ok=True)
        record = _asset.make("forget_manifest", params, batch, log, fill)
    return record


def _earlier(params: Params, batch: BatchFolder) -> list[Served]:
    """The batches served before this one. A manifest that knows of others is made again, unless served itself."""
    served = _served.before(params, batch)
    try:
        known = files.read_json(batch.asset("forget_manifest") / "resolution.json").get("earlier", [])
    except StorageError:
        return served
    if known != [one.as_json() for one in served]:
        if _served.was_served(batch):
            return [one for one in served if one.as_json() in known]
        batch.lineage("forget_manifest").unlink(missing_ok=True)
    return served


def _end(
    params: Params, batch: BatchFolder, table: pa.Table, entries: list[Entry], found: list[Reviewed], log: Log
) -> NoReturn:
    """Nothing of the batch can be forgotten: every request ends, or waits for an officer. Raises RequestError."""
    _reviewed.propose(batch, table, entries, found)
    ledger = _ledger.of(batch.workspace)
    for entry, one in zip(entries, found, strict=True):
        _move(ledger, entry, one.state, one.open[0].reason if one.open else None)
    if any(one.state == "not_found" for one in found):
        attest.run(params, batch, log)
    waiting = [entry for entry, one in zip(entries, found, strict=True) if one.state == "in_review"]
    if waiting:
        raise RequestError(
            f"batch {batch.key}: of its {len(entries)} requests {len(waiting)} wait for somebody's word, and none is "
            f"left to forget for; `unlearning request show {waiting[0].request_id}` says what is proposed"
        )
    raise RequestError(
        f"batch {batch.key}: none of its {len(entries)} requests matches an image of data set {params.data.name!r}"
        f"{_why(entries, table)}; their state is not_found, and there is nothing to forget"
    )


def _why(entries: list[Entry], table: pa.Table) -> str:
    by_subject = any(selector.by == "subject" for entry in entries for selector in entry.request.selectors)
    if by_subject and not any(table["subject"].to_pylist()):
        return " (it was ingested without subjects; `unlearning ingest --subject-from` names them)"
    return ""


def _live(ledger: Ledger, batch: BatchFolder) -> list[Entry]:
    """The batch's requests in the order of requests.jsonl, those left out before aside."""
    entries = ledger.entries(batch.key)
    sealed = [line.decode() for line in batch.requests.read_bytes().splitlines()]
    if sealed != [entry.body for entry in entries]:
        raise RequestError(
            f"{batch.requests}: not the {len(entries)} requests that the ledger sealed into batch {batch.key}; "
            f"restore the file or the ledger"
        )
    live = [entry for entry in entries if entry.state not in states.LEFT_OUT]
    if not live:
        gone = ", ".join(sorted({entry.state for entry in entries}))
        raise RequestError(f"batch {batch.key}: every request in it has ended ({gone}); there is nothing to forget")
    return live


def _refuse_other_rows(forget: pa.Table, batch: BatchFolder) -> None:
    """A forget manifest is frozen: what was unlearned, or is being unlearned, was unlearned for these rows."""
    try:
        before = lineage.read(batch, "forget_manifest")
    except (StorageError, EvidenceError):
        return
    if lineage.intact(before, batch):
        columns, order = ["dataset", "key", "sha256"], [("dataset", "ascending"), ("key", "ascending")]
        now, frozen = (table.select(columns).sort_by(order) for table in (forget, manifest.read(batch.forget)))
        if not now.equals(frozen):
            raise ManifestError(
                f"batch {batch.key}: its forget manifest is frozen with {len(frozen)} images, and these parameters and "
                f"data set give {len(now)} others; restore them, or file new requests and seal another batch"
            )


def _resolution(
    params: Params,
    batch: BatchFolder,
    table: pa.Table,
    forget: pa.Table,
    entries: list[Entry],
    requests: list[Request],
    found: list[Reviewed],
) -> dict[str, Any]:
    """Counts only: what is forgotten stands in forget.parquet, which can be erased."""
    split = table["split"].to_numpy()
    return {
        "schema": "resolution/1",
        "batch": batch.key,
        "dataset": params.data.name,
        "index_sha256": index.describe(batch.workspace.dataset(params.data.name))["index_sha256"],
        "forget": len(forget),
        "requests": [
            {
                "request_id": entry.request_id,
                "controller_id": entry.controller_id,
                "selectors": dict(Counter(selector.by for selector in request.selectors)),
                "selected": len(one.found.selected),
                "same_pixels": len(one.found.covered) - len(one.found.selected),
                "train": int((split[one.taken] == "train").sum()),
                "holdout": int((split[one.taken] == "holdout").sum()),
                "state": one.state,
                **_reviewed.said(request, one),
            }
            for entry, request, one in zip(entries, requests, found, strict=True)
        ],
    }


def _said(batch: BatchFolder) -> freezing.Said:
    """What resolution.json says of each request; what a killed run did not tell the ledger, the next one tells it."""
    said = files.read_json(batch.asset("forget_manifest") / "resolution.json")["requests"]
    return {
        (one["controller_id"], one["request_id"]): (
            one["state"],
            _REASONS[one["state"]] if one["state"] in _REASONS else one["review"][0]["reason"],
        )
        for one in said
    }


def _move(ledger: Ledger, entry: Entry, state: str, review: str | None) -> None:
    if entry.state != state:
        ledger.move(entry, state, review or _REASONS[state])
