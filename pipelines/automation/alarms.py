"""What a person has to look at: `<root>/alarms.jsonl`, one line an alarm, opaque ids only. Pagers tail it.

{"at": "2026-11-22T02:00:00+00:00", "kind": "deadline", "level": 0.75, "request_id": "…", "due_at": "…", …}
"""

from __future__ import annotations

import fcntl
from datetime import datetime
from pathlib import Path
from typing import Any

from unlearning import files
from unlearning.verbs import _ledger
from unlearning.workspace import Workspace


def file(workspace: Workspace) -> Path:
    """Where they stand, oldest first."""
    return workspace.root / "alarms.jsonl"


def sound(workspace: Workspace, kind: str, at: datetime, **what: Any) -> None:
    """Add one line. Two processes at once add two whole lines."""
    path = file(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        out.write(files.canonical({"at": at.isoformat(), "kind": kind, **what}) + b"\n")
        out.flush()


def deadlines(workspace: Workspace, now: datetime) -> list[str]:
    """Sound every deadline alarm that was crossed since the last call, of every line; a sentence each."""
    said = []
    for due in _ledger.of(workspace).ring(now):
        entry = due.entry
        where = {"request_id": entry.request_id, "controller_id": entry.controller_id, "state": entry.state}
        sound(workspace, "deadline", now, level=due.alarm, due_at=str(due.due_at), **where)
        late = "is overdue" if due.alarm >= 1 else f"has used {due.alarm:.0%} of its time"
        said.append(f"request {entry.request_id} of {entry.controller_id} {late} (due {due.due_at}, {entry.state})")
    return said
