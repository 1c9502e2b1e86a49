"""`unlearning request add FILE | list | show ID | cancel ID | …`: the door of the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearning.errors import RequestError
from unlearning.requests import proposals, schema, states
from unlearning.requests.ledger import CALLED_OFF_BY, Entry, Ledger
from unlearning.requests.resolution_review import HOLD
from unlearning.verbs import _ledger
from unlearning.workspace import BatchFolder, Workspace


def add(path: Path, workspace: Workspace) -> list[dict[str, Any]]:
    """Take in every request of a file, or none; a receipt each. Raises RequestError, with the ledger as it was."""
    return [entry.receipt for entry in _ledger.of(workspace).add(schema.read(path))]


def listed(
    workspace: Workspace,
    state: str | None = None,
    batch: str | None = None,
    model: str | None = None,
    most: int | None = None,
) -> list[dict[str, Any]]:
    """A receipt for every request that fits, oldest first, at most so many. Raises RequestError for no state."""
    if state is not None and state not in states.LEGAL:
        raise RequestError(f"there is no state {state[:40]!r}; states that exist: {', '.join(sorted(states.LEGAL))}")
    return [entry.receipt for entry in _ledger.of(workspace).listed(state, batch, model, most)]


def due(workspace: Workspace, model: str | None = None, most: int | None = None) -> list[dict[str, Any]]:
    """Open requests, soonest due first: the share of the legal time used, and the models that have yet to forget."""
    found = _ledger.of(workspace).due(datetime.now(UTC), model, most)
    return [
        {
            **one.entry.receipt,
            "due_rule": one.entry.due_rule,
            "used_share": round(one.used_share, 4),
            "alarm": one.alarm,
            "owed_by": list(one.owed_by),
        }
        for one in found
    ]


def show(request_id: str, workspace: Workspace, controller: str | None = None) -> list[dict[str, Any]]:
    """Receipt, tasks and events of the request of that id, one a controller that uses it. Raises RequestError."""
    ledger = _ledger.of(workspace)
    return [_shown(ledger, workspace, entry) for entry in _known(ledger, request_id, controller)]


def change(
    request_id: str, workspace: Workspace, action: str, reason: str, controller: str | None = None
) -> list[dict[str, Any]]:
    """`cancel`, `revoke`, `decline`, `hold`, `release` or `extend` one request. Raises RequestError where not legal."""
    ledger = _ledger.of(workspace)
    (entry,) = _only(_known(ledger, request_id, controller))
    names = (entry.controller_id, entry.request_id)
    if action in CALLED_OFF_BY:
        ledger.call_off(*names, CALLED_OFF_BY[action], reason)
    else:
        changes: dict[str, Callable[[str, str, str], None]] = {
            "hold": ledger.hold,
            "release": ledger.release,
            "extend": ledger.extend,
        }
        changes[action](*names, reason)
        if action == "release":
            _end_conflicts(ledger, workspace)
    return show(request_id, workspace, entry.controller_id)


def requeue(batch: str, workspace: Workspace, reason: str) -> list[dict[str, Any]]:
    """The failed requests of a batch wait for the next one; their receipts. Raises RequestError where none failed."""
    ledger = _ledger.of(workspace)
    if not ledger.requeue(workspace.batch(batch).key, reason):
        found = ", ".join(sorted({entry.state for entry in ledger.entries(batch)})) or "there are none"
        raise RequestError(
            f"batch {batch}: none of its requests is failed ({found}); only those can be left to the next"
        )
    return [entry.receipt for entry in ledger.entries(batch) if entry.state == "requeued"]


def cancel(request_id: str, workspace: Workspace) -> list[dict[str, Any]]:
    """The operator calls a request off; legal until its batch's forget manifest is made. Raises RequestError."""
    return change(request_id, workspace, "cancel", "called_off_by_operator")


def approve(
    request_id: str, workspace: Workspace, what: str, digest: str, role: str, controller: str | None = None
) -> list[dict[str, Any]]:
    """An officer accepts a proposal, which `digest` names; with the last one the request waits for a batch again.

    Raises RequestError where a name is none, or the request waits for other proposals. Again: nothing changes.
    """
    ledger = _ledger.of(workspace)
    (entry,) = _only(_known(ledger, request_id, controller))
    waiting = [
        (task, [(one["what"], one["digest"]) for one in proposals.read(workspace, task)])
        for task in ledger.tasks(entry)
        if task.state == "in_review"
    ]
    proposed = sorted({one for _, found in waiting for one in found})
    if proposed and (what, digest) not in proposed:
        named = ", ".join(f"--what {name} --digest {one}" for name, one in proposed)
        raise RequestError(f"request {request_id}: nothing of that name and digest is proposed; {named} is right")
    ledger.approve(entry, what, digest, role)
    word = ledger.approved(entry)
    for task, found in waiting:
        if word.issuperset(found):
            ledger.move(task, "requeued", "approved")
    return show(request_id, workspace, entry.controller_id)


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


def _end_conflicts(ledger: Ledger, workspace: Workspace) -> None:
    """Whatever waited for the end of a hold goes to the next batch, which sees whether another hold stands."""
    for task in ledger.listed("in_review"):
        if any(one["what"] == HOLD for one in proposals.read(workspace, task)):
            ledger.move(task, "requeued", "hold_ended")


def _shown(ledger: Ledger, workspace: Workspace, entry: Entry) -> dict[str, Any]:
    made = ledger.tasks(entry)
    tasks = [{"model": task.model, "attempt": task.attempt, "batch": task.batch, "state": task.state} for task in made]
    waiting = [
        {"model": task.model, **one}
        for task in made
        if task.state == "in_review"
        for one in proposals.read(workspace, task)
    ]
    approved = [{"what": what, "digest": digest} for what, digest in sorted(ledger.approved(entry))]
    return {
        **entry.receipt,
        "due_rule": entry.due_rule,
        "tasks": tasks,
        "approved": approved,
        **({"proposals": waiting} if waiting else {}),
        "events": [asdict(event) for event in ledger.events(entry, every=True)],
    }


def _known(ledger: Ledger, request_id: str, controller: str | None) -> list[Entry]:
    """The requests of that id, one a controller, as their newest task has them."""
    found = [entry for entry in ledger.find(request_id) if controller in (None, entry.controller_id)]
    if not found:
        raise RequestError(
            f"request {request_id[:64]!r} is not in the ledger; `unlearning request list` shows which are"
        )
    return list({entry.seq: entry for entry in found}.values())


def _only(found: list[Entry]) -> list[Entry]:
    if len(found) > 1:
        names = ", ".join(entry.controller_id for entry in found)
        raise RequestError(f"request {found[0].request_id} is one of several controllers' ({names}); name --controller")
    return found
