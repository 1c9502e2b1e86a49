"""The states of a deletion request, and which may follow which.

The main line, and what OpenDSR would call it:

    received -> identity_pending -> verified -> resolving -> in_review -> scheduled   pending, may still be called off
    -> unlearning -> evaluating -> ready -> promoted -> purging                       in_progress
    -> completed                                                                      completed

`unlearning` is the point of no return: nothing after it may be cancelled, only finished or failed.
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
        # A sealed request may leave its batch until the forget manifest is frozen.
        "resolving": frozenset({"in_review", "scheduled", "not_found", *_CALLED_OFF}),
        "in_review": frozenset({"resolving", "scheduled", *_CALLED_OFF}),
        "scheduled": frozenset({"unlearning", "failed"}),
        "unlearning": frozenset({"evaluating", "failed"}),
        "evaluating": frozenset({"ready", "failed"}),
        "ready": frozenset({"promoted", "failed"}),
        "failed": frozenset({"scheduled"}),  # tried again, with other parameters
        "promoted": frozenset({"purging"}),
        "purging": frozenset({"completed"}),
        "completed": frozenset(),
        "rejected": frozenset(),
        "cancelled": frozenset(),
        "revoked": frozenset(),
        "duplicate": frozenset(),
        "not_found": frozenset(),
    }
)

PENDING = "verified"  # waits for a batch
LINE = ("resolving", "scheduled", "unlearning", "evaluating", "ready", "promoted")  # what a batch walks
CALLED_OFF = frozenset(_CALLED_OFF)
LEFT_OUT = CALLED_OFF | {"not_found", "duplicate"}  # in a batch, but nothing is forgotten for them


def require(old: str, new: str, request_id: str) -> None:
    """Raise RequestError unless `new` may follow `old`."""
    if new not in LEGAL.get(old, frozenset()):
        allowed = ", ".join(sorted(LEGAL.get(old, frozenset()))) or "nothing: it has ended"
        raise RequestError(f"request {request_id}: {old} cannot become {new}; what may follow: {allowed}")


def steps(old: str, new: str) -> tuple[str, ...]:
    """The states a batch walks through from `old` to `new`; none where it is there already, or further.

    A failed batch comes back when a later attempt is `ready`, and not before: until then it has failed.
    """
    if old == "failed":
        return ("scheduled", *steps("scheduled", new)) if new in ("ready", "promoted") else ()
    if old not in LINE or new not in LINE:
        return ()
    return LINE[LINE.index(old) + 1 : LINE.index(new) + 1]
