"""model_promotion: the batch's unlearned checkpoint is served from now on, and the ledger says so."""

from __future__ import annotations

from unlearning.evidence import promotion
from unlearning.evidence.promotion import Promotion
from unlearning.params import Params
from unlearning.verbs import request
from unlearning.workspace import BatchFolder


def run(params: Params, batch: BatchFolder) -> Promotion:
    """Promote, then close the batch's requests; again: nothing changes. Raises EvidenceError where it is refused."""
    done = promotion.promote(params, batch)
    request.close_batch(batch, promoted=True, reason="promoted")
    return done
