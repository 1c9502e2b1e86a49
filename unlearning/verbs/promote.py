"""model_promotion: the batch's unlearned checkpoint is served from now on, and the ledger says so."""

from __future__ import annotations

from datetime import datetime

from unlearning import files
from unlearning.data import manifest, tombstones
from unlearning.evidence import promotion, purge
from unlearning.evidence.promotion import Promotion
from unlearning.log import Log, silent
from unlearning.params import Params
from unlearning.verbs import _ledger, attest, request, rollback
from unlearning.workspace import BatchFolder


def run(params: Params, batch: BatchFolder, log: Log = silent) -> Promotion:
    """Promote, keep what was forgotten from coming back, close the batch's requests; again: nothing changes.

    Raises EvidenceError where it is refused. A rollback whose ledger was never told, because it was killed, is told
    first.
    """
    rollback.settle(params.model.name, batch.workspace)
    done = promotion.promote(params, batch, _left_out(params, batch))
    if not purge.begun(batch):  # its images are gone, and its tombstones stand
        tombstones.add(batch.workspace, batch.key, manifest.read(batch.forget), params.tombstones.perceptual_within)
    request.close_batch(batch, promoted=True, reason="promoted")
    attest.run(params, batch, log)
    return done


def _left_out(params: Params, batch: BatchFolder) -> int:
    """Requests for this model that came before the batch was sealed, or before its cut-off, and wait still.

    Of the goal that waits longest: what the next batch would seal.
    """
    sealed = files.read_json(batch.requests.with_name("batch.json"))
    cut_off = sealed.get("cut_off") or sealed.get("sealed_at")
    if cut_off is None:  # sealed before that was written
        return 0
    moment, ledger = datetime.fromisoformat(cut_off), _ledger.of(batch.workspace)
    return len(ledger.pending(params.model.name, params.data.name, before=moment))
