"""The states of a deletion request and of its tasks, and which may follow which.

A request is filed once; each model that was trained on its data set owes it one task. The main line of the two, and
what OpenDSR would call it:

    received -> identity_pending -> verified                                          the request: pending
    -> resolving -> in_review -> scheduled                                            a task: pending, may be called off
    -> unlearning -> evaluating -> ready -> promoted -> purging                       in_progress
    -> completed                                                                      completed

A frozen manifest (`scheduled`) is the point of no return: nothing after it may be called off, only finished or failed.
A task may also end without its request: `requeued` or `rolled_back`; the request then waits for that model again.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from unlearning.errors import RequestError

_CALLED_OFF = ("rejected", "cancelled", "revoked")

LEGAL: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "received": frozenset({"identity_pending", "verified", "duplicate", *_CALLED_OFF}),
        "identity_pending": frozenset({"verified", *_CALLED_OFF}),
        "verified": frozenset({"resolving", "on_hold", "duplicate", *_CALLED_OFF}),
        "on_hold": frozenset({"verified", *_CALLED_OFF}),
        # A sealed request may leave its batch until the forget manifest is frozen; `failed`: its input was refused.
        "resolving": frozenset(
            {"in_review", "scheduled", "not_found", "duplicate", "requeued", "failed", *_CALLED_OFF}
        ),
        "in_review": frozenset({"resolving", "scheduled", "not_found", "duplicate", "requeued", *_CALLED_OFF}),
        "scheduled": frozenset({"unlearning", "failed"}),
        "unlearning": frozenset({"evaluating", "failed"}),
        "evaluating": frozenset({"ready", "failed"}),
        "ready": frozenset({"promoted", "failed"}),
        # tried again in its batch (where it may now match nothing, or need a word), left to a later one, or given up
        "failed": frozenset({"scheduled", "in_review", "not_found", "requeued", *_CALLED_OFF}),
        "promoted": frozenset({"purging", "rolled_back"}),
        "purging": frozenset({"completed"}),
        "completed": frozenset(),
        "rejected": frozenset(),
        "cancelled": frozenset(),
        "revoked": frozenset(),
        "duplicate": frozenset(),
        "not_found": frozenset(),
        "requeued": frozenset(),
        "rolled_back": frozenset(),
    }
)

PENDING = "verified"  # waits for a batch
LINE = ("resolving", "scheduled", "unlearning", "evaluating", "ready", "promoted")  # what a batch walks
CALLED_OFF = frozenset(_CALLED_OFF)
UNDONE = frozenset({"requeued", "rolled_back"})  # ends of a task, not of its request
LEFT_OUT = CALLED_OFF | UNDONE | {"not_found", "duplicate"}  # in a batch, but nothing is forgotten for them

OPEN_REQUEST = frozenset({"received", "identity_pending", PENDING, "on_hold"})
OF_A_REQUEST = OPEN_REQUEST | CALLED_OFF | {"duplicate"}
OF_A_TASK = LEGAL.keys() - OPEN_REQUEST
# What its model owes no more. The physical purge follows, and ends in `completed`.
SETTLED = CALLED_OFF | {"promoted", "purging", "completed", "duplicate", "not_found"}


def require(old: str, new: str, request_id: str) -> None:
    """Raise RequestError unless `new` may follow `old`."""
    if new not in LEGAL.get(old, frozenset()):
        allowed = ", ".join(sorted(LEGAL.get(old, frozenset()))) or "nothing: it has ended"
        raise RequestError(f"request {request_id}: {old} cannot become {new}; what may follow: {allowed}")


def steps(old: str, new: str) -> tuple[str, ...]:
    """The states a batch walks through from `old` to `new`; none where it is there already, or further.

    `failed` is reached from wherever they stand. A failed batch comes back when a later attempt is `ready`, and not
    before: until then it has failed.
    """
    if new == "failed":
        return ("failed",) if "failed" in LEGAL[old] else ()
    if old == "failed":
        return ("scheduled", *steps("scheduled", new)) if new in ("ready", "promoted") else ()
    if old not in LINE or new not in LINE:
        return ()
    return LINE[LINE.index(old) + 1 : LINE.index(new) + 1]
