"""After a run that failed: was it refused, or did it crash? A refusal moves the ledger; a crash resumes.

A refusal is a gate, a rule or an input that said no, and would say it again. A crash (a signal, a full disk, a worker
that is gone) says nothing about the requests: they stay where they are, and the next attempt goes on from the files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from pipelines.automation import alarms
from pipelines.gating import GATED
from pipelines.line import Line
from pipelines.making import REFUSED
from unlearning import files
from unlearning.errors import StorageError
from unlearning.verbs import _ledger, request
from unlearning.workspace import BatchFolder

GATES = "gates"  # the step of a refusal that no single step said
_QUOTED = re.compile(r"'[^']*'")  # in the house's sentences what came from outside stands in quotes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which step said no, and why, without a traceback and without a value from outside."""

    step: str
    sentence: str


def found(events: Sequence[dg.DagsterEvent]) -> Refusal | None:
    """The refusal among a run's step failures: an input's before a gate's; None where all of them are crashes."""
    gates = []
    for event in events:
        data: Any = event.step_failure_data
        said = data.user_failure_data
        if said is not None and REFUSED in said.metadata:
            return Refusal(str(event.step_key), _QUOTED.sub("'…'", str(said.description)))
        if data.error is not None and data.error.cls_name == "DagsterAssetCheckFailedError":
            gates.append(str(event.step_key).rpartition(f"{GATED}_")[2])
    return Refusal(GATES, f"the gates refused: {', '.join(sorted(gates))}") if gates else None


def settle(line: Line, batch: BatchFolder, run_id: str, refusal: Refusal, now: datetime) -> str:
    """Record the refusal, fail the batch's requests, and requeue them where the line says so; what was done, in words.

    Again: the same record, and nothing moves twice.
    """
    record = {"batch": batch.key, "run": run_id, "step": refusal.step, "sentence": refusal.sentence}
    path = batch.path / "refusals" / f"{run_id}.json"
    if not path.is_file():
        files.write_json(path, {"schema": "refusal/1", **record, "at": now.isoformat()})
    reason = "gates_refused" if refusal.step == GATES else "input_refused"
    request.close_batch(batch, promoted=False, reason=reason)
    attempts = _attempts(batch)
    if line.on_refusal == "requeue" and attempts < line.max_attempts:
        ledger = _ledger.of(batch.workspace)
        ledger.requeue(batch.key, reason)
        again = sum(entry.state == "requeued" for entry in ledger.entries(batch.key))
        if again:  # none where the images were never found: the same requests would be refused again
            return f"{batch.key} was refused at {refusal.step}; {again} requests join the next batch"
    alarms.sound(batch.workspace, "needs_a_human", now, line=line.name, attempts=attempts, **record)
    return f"{batch.key} was refused at {refusal.step} and needs a human: {refusal.sentence}"


def _attempts(batch: BatchFolder) -> int:
    """In how many batches its requests were tried, this one included; 0 where it was never sealed."""
    try:
        return int(files.read_json(batch.requests.with_name("batch.json"))["attempts"])
    except (StorageError, KeyError):
        return 0
