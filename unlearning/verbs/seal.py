"""deletion_requests: the pending requests of one goal become a batch, which never changes again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unlearning import files
from unlearning.errors import RequestError
from unlearning.evidence import lineage
from unlearning.evidence.lineage import Record
from unlearning.log import Log
from unlearning.params import Params
from unlearning.requests.ledger import nothing_pending
from unlearning.stages import STAGES
from unlearning.verbs import _asset, _ledger
from unlearning.workspace import BatchFolder


def run(params: Params, batch: BatchFolder, log: Log) -> Record:
    """Seal the batch, or find it sealed. Raises RequestError if nothing is pending, with ledger and files as before."""
    ledger, dataset = _ledger.of(batch.workspace), params.data.name
    made = lineage.current(STAGES["deletion_requests"], params, batch)
    if made is None and not ledger.entries(batch.key) and not ledger.pending(dataset):
        elsewhere = sorted({entry.dataset for entry in ledger.waiting() if entry.dataset})
        others = f" (for others: {', '.join(elsewhere)})" if elsewhere else ""
        raise RequestError(nothing_pending(batch.key, dataset) + others)

    def fill(folder: Path, key: str) -> dict[str, Any]:
        # A crash between ledger and folder is healed here: a batch that is sealed gives the same requests again.
        with ledger.sealing(batch.key, dataset) as (entries, sealed_at):
            said = {"schema": "batch/1", "batch": batch.key, "goal": entries[0].goal, "count": len(entries)}
            said["sealed_at"] = sealed_at  # deadlines are counted from it, so that a plan reads no clock
            files.write_bytes(folder / "requests.jsonl", b"".join(entry.body.encode() + b"\n" for entry in entries))
            files.write_json(folder / "batch.json", said)
        return {"goal": entries[0].goal, "requests": len(entries)}

    return _asset.make("deletion_requests", params, batch, log, fill)
