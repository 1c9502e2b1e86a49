"""The gates as Dagster shows them: one check a criterion, each from the same call of unlearning.gates.evaluate."""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from pipelines.line import Line
from pipelines.making import opened
from pipelines.resources.workbench import Workbench
from unlearning.errors import UnlearningError
from unlearning.evidence import promotion
from unlearning.gates import Criterion, Verdict

GATED = "certificate"  # why not the report: infra/decisions, "Where the gates stand in the graph"
ALONE = (  # criteria with a check of their own
    "integrity",
    "goal",  # shown by integrity
    "retention",
    "forgetting",
    "forgetting_trained",
    "reference_distance",
    "over_forgetting",
    "sibling_retention",
    "earlier",
    "earlier_purged",  # shown by earlier
)
_UNASKED = {  # why a criterion is not among those of a verdict, where it is not the goal
    "sibling_retention": "gates.sibling_retention_at_least is not set",
    "earlier": "nothing was forgotten earlier",
}


def gate_check(line: Line, criterion: str, description: str, blocking: bool = True) -> dg.AssetChecksDefinition:
    """The check of one criterion. One function a check: a blocking failure stops the function that reports it."""

    @dg.asset_check(
        asset=line.key(GATED),
        name=criterion,
        description=description,
        blocking=blocking,
        partitions_def=line.partitions,
    )
    def check(context: dg.AssetCheckExecutionContext, workbench: Workbench) -> dg.AssetCheckResult:
        params, batch = opened(line, workbench, context.partition_key)
        try:
            verdict = promotion.judge(params, batch, rehash=criterion == "integrity")
        except UnlearningError as error:  # nothing to judge is a refusal, in words
            return _result(False, blocking, str(error), {})
        return judged(verdict, criterion, blocking)

    return check


def gathered_check(line: Line, name: str, description: str, belongs: Callable[[str], bool]) -> dg.AssetChecksDefinition:
    """One check of all criteria whose name `belongs`: which there are, only the parameters know.

    It blocks where one of them does; where only advice fails it warns.
    """

    @dg.asset_check(
        asset=line.key(GATED), name=name, description=description, blocking=True, partitions_def=line.partitions
    )
    def check(context: dg.AssetCheckExecutionContext, workbench: Workbench) -> dg.AssetCheckResult:
        params, batch = opened(line, workbench, context.partition_key)
        try:
            verdict = promotion.judge(params, batch, rehash=False)
        except UnlearningError as error:
            return _result(False, True, str(error), {})
        return gathered([one for one in verdict.criteria if belongs(one.name)])

    return check


def is_an_attack(criterion: str) -> bool:
    """Whether the criterion is one of gates.attacks."""
    return criterion.startswith("attack_")


def is_a_metric(criterion: str) -> bool:
    """Whether the criterion is one of gates.metrics."""
    return criterion not in ALONE and not is_an_attack(criterion)


def gathered(criteria: Sequence[Criterion]) -> dg.AssetCheckResult:
    """What the verdict says of several criteria. None at all passes, saying so."""
    if not criteria:
        return _result(True, True, "no threshold is set", {})
    missed = [one for one in criteria if one.status != "pass"]
    blocking = any(one.blocking for one in missed)
    words = "; ".join(f"{one.name}: {one.sentence}" for one in missed) or "all of them hold"
    shown = {f"{one.name}.{name}": value for one in criteria for name, value in _numbers(one).items()}
    return _result(not missed, blocking or not missed, words, shown)


def judged(verdict: Verdict, criterion: str, blocking: bool) -> dg.AssetCheckResult:
    """What the verdict says of one criterion. One that the goal does not ask for passes, saying so."""
    found = {one.name: one for one in verdict.criteria}
    if criterion == "integrity" and "goal" in found:  # a report without a known goal cannot be judged at all
        found["integrity"] = found["goal"]
    if criterion == "earlier" and "earlier" not in found and "earlier_purged" in found:
        found["earlier"] = found["earlier_purged"]
    if criterion not in found:
        return _result(True, blocking, _UNASKED.get(criterion, f"does not apply to the goal {verdict.goal}"), {})
    one = found[criterion]
    return _result(one.status == "pass", blocking, one.sentence, _numbers(one))


def _numbers(criterion: Criterion) -> dict[str, Any]:
    numbers = {"value": criterion.value, "low": criterion.low, "high": criterion.high}
    return {
        **{name: dg.MetadataValue.float(value) for name, value in numbers.items() if value is not None},
        "bound": criterion.bound,
        "source": criterion.source,
        "status": criterion.status,
    }


def _result(passed: bool, blocking: bool, sentence: str, more: dict[str, Any]) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(passed=passed, severity=severity, description=sentence, metadata=more)
