"""deletion_requests: the pending requests of one goal become a batch, which never changes again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from unlearning import files
from unlearning.errors import RequestError
from unlearning.evidence import lineage
from unlearning.evidence.lineage import Record
from unlearning.log import Log
from unlearning.params import Params
from unlearning.requests.ledger import Sealed, nothing_pending
from unlearning.stages import STAGES
from unlearning.verbs import _asset, _ledger
from unlearning.workspace import BatchFolder


def run(
    params: Params, batch: BatchFolder, log: Log, before: datetime | None = None, most: int | None = None
) -> Record:
    """Seal the batch, or find it sealed: what waits for this model, received before a moment, at most so many.

    The model is registered on its data set. Raises RequestError if nothing is pending, with ledger and files as before.
    """
    ledger, model, dataset = _ledger.of(batch.workspace), params.model.name, params.data.name
    made = lineage.current(STAGES["deletion_requests"], params, batch)
    if made is None and not ledger.entries(batch.key) and not ledger.pending(model, dataset, before, most=1):
        elsewhere = sorted({entry.dataset for entry in ledger.waiting() if entry.dataset} - {dataset})
        others = f" (for others: {', '.join(elsewhere)})" if elsewhere else ""
        raise RequestError(nothing_pending(batch.key, dataset) + others)

    def fill(folder: Path, key: str) -> dict[str, Any]:
        # A crash between ledger and folder is healed here: a batch that is sealed gives the same requests again.
        with ledger.sealing(batch.key, model, dataset, before, most) as sealed:
            files.write_bytes(folder / "requests.jsonl", b"".join(one.body.encode() + b"\n" for one in sealed.entries))
            files.write_json(folder / "batch.json", _said(batch, model, sealed))
        return {"goal": sealed.entries[0].goal, "requests": len(sealed.entries)}

    return _asset.make("deletion_requests", params, batch, log, fill)


def _said(batch: BatchFolder, model: str, sealed: Sealed) -> dict[str, Any]:
    """batch.json."""
    return {
        "schema": "batch/1",
        "batch": batch.key,
        "model": model,
        "goal": sealed.entries[0].goal,
        "count": len(sealed.entries),
        "attempts": sealed.attempts,
        "sealed_at": sealed.sealed_at,  # deadlines are counted from it, so that a plan reads no clock
        "cut_off": sealed.cut_off,
    }
