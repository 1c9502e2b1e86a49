"""`unlearning request add FILE | list | show ID | cancel ID`: the door of the ledger."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from unlearning.errors import RequestError
from unlearning.requests import schema
from unlearning.requests.ledger import Entry
from unlearning.verbs import _ledger
from unlearning.workspace import BatchFolder, Workspace


def add(path: Path, workspace: Workspace) -> list[dict[str, Any]]:
    """Take in every request of a file, or none; a receipt each. Raises RequestError, with the ledger as it was."""
    return [entry.receipt for entry in _ledger.of(workspace).add(schema.read(path))]


def listed(workspace: Workspace) -> list[dict[str, Any]]:
    """A receipt for every request in the ledger, oldest first."""
    return [entry.receipt for entry in _ledger.of(workspace).entries()]


def show(request_id: str, workspace: Workspace) -> list[dict[str, Any]]:
    """Receipt and events of the request of that id, one a controller that uses it. Raises RequestError."""
    ledger = _ledger.of(workspace)
    return [
        {**entry.receipt, "events": [asdict(event) for event in ledger.events(entry)]}
        for entry in _known(request_id, workspace)
    ]


def cancel(request_id: str, workspace: Workspace) -> list[dict[str, Any]]:
    """The operator calls a request off; legal until its batch's forget manifest is made. Raises RequestError."""
    ledger = _ledger.of(workspace)
    for entry in _known(request_id, workspace):
        ledger.move(entry, "cancelled", "called_off_by_operator")
    return show(request_id, workspace)


def follow(stage: str, batch: BatchFolder) -> None:
    """Tell the ledger that a training stage was made: a state says how far a batch has come; a refusal moves nothing.

    The verbs that run beside the ledger (seal, resolve, certify) tell it themselves. Again: nothing moves.
    """
    state = {"unlearned_checkpoint": "unlearning", "evaluation_report": "evaluating"}.get(stage)
    if state is not None:
        _ledger.of(batch.workspace).advance(batch.key, state, "stage_made")


def close_batch(batch: BatchFolder, promoted: bool, reason: str) -> int:
    """End a batch's requests: `promoted`, or `failed` with a reason code; how many moved. Again: none moves."""
    return _ledger.of(batch.workspace).close_batch(batch.key, promoted, reason)


def _known(request_id: str, workspace: Workspace) -> list[Entry]:
    found = _ledger.of(workspace).find(request_id)
    if not found:
        raise RequestError(
            f"request {request_id[:64]!r} is not in the ledger; `unlearning request list` shows which are"
        )
    return found
