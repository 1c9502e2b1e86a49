"""`unlearning rollback MODEL --to VERSION --because CODE`: serve an earlier version again, reopen what it undoes."""

from __future__ import annotations

from unlearning.evidence import history, promotion, rollback
from unlearning.evidence.rollback import Restored
from unlearning.verbs import _ledger
from unlearning.workspace import Workspace


def run(model: str, to_version: int, workspace: Workspace, reason: str, expected: int | None = None) -> Restored:
    """A new generation that serves `to_version`; the requests of every batch it undoes are open again.

    Their deadlines have been running all along. A run that was killed anywhere is finished by the same call.
    expected  the version that is to be replaced; another one being served refuses
    Raises EvidenceError, with everything as it was.
    """
    done = rollback.roll_back(workspace, model, to_version, reason, expected)
    settle(model, workspace)
    return done


def settle(model: str, workspace: Workspace) -> int:
    """Tell the ledger of every batch that was rolled back; how many requests moved. Again: none moves."""
    ledger, moved = _ledger.of(workspace), 0
    lines = promotion.generations(workspace, model)
    for batch in history.undone(lines):
        ledger.close_batch(batch, True, "promoted")  # whoever was killed after serving it never said so
        moved += ledger.roll_back(batch, history.why_undone(lines, batch) or "rolled_back")
    return moved
