"""A workspace that a study or a sequence has to itself, and the requests that it files there.

Its requests never meet a real ledger; only the data sets are the root's. What is to be forgotten is asked for by
requests that the experiment files itself, so that every verb is the released one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unlearning import files
from unlearning.errors import ManifestError, ParamsError
from unlearning.params import Goal
from unlearning.settings import Settings
from unlearning.verbs import request
from unlearning.workspace import BatchFolder, Workspace


@dataclass(frozen=True, slots=True)
class _OwnLedger(Workspace):
    """A workspace in which one batch has a ledger to itself: sealing takes every request that waits."""

    owner: str = ""

    @property
    def ledger(self) -> Any:
        """See Workspace."""
        return self.root / "ledgers" / f"{self.owner}.sqlite"


def home(kind: str, name: str, workspace: Workspace) -> Workspace:
    """`<root>/<kind>/<name>`, with the root's data sets in it."""
    root = workspace.root.resolve() / kind / name
    root.mkdir(parents=True, exist_ok=True)
    with files.locked(root / ".locks" / "data", f"{kind} {name}", wait=True):
        if not (root / "data").is_symlink():
            (root / "data").symlink_to("../../data", target_is_directory=True)
    return Workspace(root)


def batch(home: Workspace, key: str) -> BatchFolder:
    """A batch of the experiment, with a ledger of its own."""
    return _OwnLedger(home.root, key).batch(key)


def refuse_real_ledger() -> None:
    """Raise ParamsError where the settings name one."""
    if Settings().ledger_url:
        raise ParamsError("a study files requests of its own: unset UNLEARNING_LEDGER_URL, or set it to nothing")


def file(wanted: dict[str, Any], batch: BatchFolder, what: str) -> None:
    """File a request, once. Raises ManifestError if the batch, which is `what`, was asked for something else before."""
    if batch.requests.is_file():
        if batch.requests.read_bytes() != files.canonical(wanted) + b"\n":
            raise ManifestError(
                f"{what} was made to forget something else; give it another label, or remove {batch.path}"
            )
        return
    path = batch.workspace.root / "requests" / f"{batch.key}.json"
    files.write_json(path, wanted)
    request.add(path, batch.workspace)


def of_classes(name: str, dataset: str, goal: Goal, classes: Sequence[str]) -> dict[str, Any]:
    """The same classes give the same request, to the last letter: it has no clock and no chance in it."""
    selectors = [{"class": one, "approved_by": "study"} for one in classes]
    digits = hashlib.sha256(json.dumps([name, dataset, selectors]).encode()).hexdigest()
    return {
        "schema": "forget-request/1",
        "request_id": f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}",
        "controller_id": "study",
        "goal": goal,
        "regulation": "internal",
        "kind": "takedown",
        "submitted_at": "2026-01-01T00:00:00Z",
        "dataset": dataset,
        "selectors": selectors,
    }
