"""What a batch's plan makes of the parameters, for the stages that come after it."""

from __future__ import annotations

from unlearning.errors import ManifestError, PolicyError, StorageError
from unlearning.evidence import lineage, plan, promotion, suppression
from unlearning.params import Params, Unlearn
from unlearning.stages import STAGES
from unlearning.workspace import BatchFolder


def applied(params: Params, batch: BatchFolder) -> Params:
    """`params` with the plan's `unlearn` section; as they are where no plan can be read: the stage then refuses."""
    found = plan.read_or_empty(batch)
    return params.model_copy(update={"unlearn": Unlearn.model_validate(found["unlearn"])}) if found else params


def refuse_outdated(params: Params, batch: BatchFolder) -> None:
    """Raise ManifestError for a plan of other parameters: it would carry out what nobody asks any more."""
    try:
        record = lineage.read(batch, plan.ASSET)
    except StorageError:
        return  # there is none: the stage says what makes it
    if record.params_sha256 != params.section_digest(*STAGES[plan.ASSET].params):
        raise ManifestError(
            f"batch {batch.key}: deletion_plan was made under other parameters than these; run "
            f"`unlearning plan --batch {batch.key}` first"
        )


def refuse_suppressed(params: Params, batch: BatchFolder) -> None:
    """Raise PolicyError where the plan says that nothing is unlearned now: what was asked stays asked."""
    found = plan.read(batch)
    if found["tier"] == "suppress":
        raise PolicyError(
            f"batch {batch.key}: the policy unlearns nothing now ({found['reason']}); {_served(params, batch)}, its "
            f"requests stay open, and a retraining is due: give policy a rule, then: retrain, and run the batch again"
        )


def _served(params: Params, batch: BatchFolder) -> str:
    """What people get meanwhile."""
    now, name = promotion.champion(batch.workspace, params.model.name), params.model.name
    served = f"{name} version {now.version}" if now is not None else f"whatever is served as {name}"
    if any(one.batch == batch.key for one in suppression.in_force(batch.workspace, name)):
        return f"{served} stays, behind this batch's filter"
    return f"{served} stays, without a filter of ours (`unlearning suppress --batch {batch.key}` makes one)"
