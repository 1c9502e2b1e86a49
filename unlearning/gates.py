"""Report x thresholds -> verdict. Fails closed; asset checks, the certificate and promotion all call this one function.

A missing number, a number that is not finite, a report of another checkpoint, and an unlearned model whose weights are
the original's are all refusals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from unlearning.rules import Advice, Bound, Gates, Threshold

Status = Literal["pass", "fail", "not_measured"]
_PARTS = ("value", "low", "high")  # of a score


@dataclass(frozen=True, slots=True)
class Criterion:
    """One bound, what was measured against it, and what follows."""

    name: str
    status: Status
    blocking: bool  # False: reported, but does not refuse
    value: float | None
    low: float | None  # of the value's confidence interval
    high: float | None
    bound: str  # ">= 0.9"
    source: str  # of the threshold
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the model may ship, and every reason."""

    goal: str
    passed: bool
    criteria: tuple[Criterion, ...]

    @property
    def word(self) -> str:
        """`passed` or `refused`, as it stands in report.json."""
        return "passed" if self.passed else "refused"

    def as_rows(self) -> list[dict[str, Any]]:
        """The criteria as JSON values."""
        return [asdict(criterion) for criterion in self.criteria]


def evaluate(
    report: Mapping[str, Any],
    gates: Gates,
    checkpoints: Mapping[str, str],
    earlier: Iterable[str] = (),
    purged: Mapping[str, str] | None = None,
) -> Verdict:
    """The verdict on `report`, for the checkpoints {original, reference, unlearned: sha256} that really lie there.

    earlier  batches whose images the manifest says were forgotten before: each must still be forgotten
    purged   those of them whose images are gone by a record that was checked, with the sentence that says so: one that
             the report does not measure is listed and not judged
    """
    goal = str(report.get("goal"))
    criteria = [_integrity(report, checkpoints), *_retention(report, gates)]
    if goal == "unreconstructable":
        criteria += _unreconstructable(report, gates)
    elif goal == "never_seen":
        criteria += _never_seen(report, gates)
    else:
        criteria.append(
            _said("goal", "fail", f"the report's goal is {goal!r}: unreconstructable or never_seen is right")
        )
    criteria += _still_forgotten(report, gates, earlier, purged or {})
    criteria += [_attacked(report, kind, advice) for kind, advice in sorted(gates.attacks.items())]
    criteria += [_bounded(report, bound) for bound in gates.metrics]
    passed = all(criterion.status == "pass" for criterion in criteria if criterion.blocking)
    return Verdict(goal, passed, tuple(criteria))


def _integrity(report: Mapping[str, Any], checkpoints: Mapping[str, str]) -> Criterion:
    reported = report.get("checkpoints")
    reported = reported if isinstance(reported, Mapping) else {}
    for role in ("original", "reference", "unlearned"):
        if not checkpoints.get(role) or reported.get(role) != checkpoints[role]:
            return _said("integrity", "fail", f"the report is not about the {role} checkpoint that lies in the batch")
    weights = report.get("weights")
    weights = weights if isinstance(weights, Mapping) else {}
    if not weights.get("unlearned") or weights.get("unlearned") == weights.get("original"):
        return _said("integrity", "fail", "the unlearned weights are the original's: nothing was unlearned")
    if report.get("finite") is not True:
        return _said("integrity", "fail", "a reconstruction holds a number that is not finite")
    return _said("integrity", "pass", "the report is about these checkpoints, whose weights moved and are finite")


def _retention(report: Mapping[str, Any], gates: Gates) -> list[Criterion]:
    found = [_at_least("retention", _score(report, "retention"), gates.retention_at_least, "kept on held-out images")]
    some = {
        "sibling_retention": (gates.sibling_retention_at_least, "the classes that look like the forgotten ones"),
        "class_retention": (gates.class_retention_at_least, "the kept class that lost most"),
    }
    for name, (bound, whose) in some.items():
        if bound is not None:
            what = f"kept on held-out images of {whose}"
            found.append(_at_least(name, _score(report, name), bound, what, bound.blocking))
    return found


def _unreconstructable(report: Mapping[str, Any], gates: Gates) -> list[Criterion]:
    what = "of the way from the original's picture to knowing nothing, on images to forget"
    forgetting = _score(report, "forgetting")
    trained = _score(report, "forgetting_trained")
    over = _difference(forgetting, _ceiling(report))
    return [
        _at_least("forgetting", forgetting, gates.forgetting_at_least, what),
        _at_least("forgetting_trained", trained, gates.forgetting_at_least, f"{what} that training saw"),
        _at_most(
            "over_forgetting",
            over,
            gates.over_forgetting_margin,
            "beyond both knowing nothing (1) and the reference: a picture that wrong betrays what was forgotten",
            blocking=False,
        ),
    ]


def _never_seen(report: Mapping[str, Any], gates: Gates) -> list[Criterion]:
    beyond = _difference(_score(report, "forgetting_trained"), _score(report, "reference_forgetting_trained"))
    distance = _Score(None if beyond.value is None else abs(beyond.value))
    what = "between the unlearned model's forgetting and that of the reference, either way"
    if beyond.value is not None:
        what += f": it {_side(beyond.value)}"
    over = "beyond the reference's forgetting: over-forgetting, by which others can tell what was deleted"
    return [
        _at_most("reference_distance", distance, gates.reference_distance_at_most, what),
        _at_most("over_forgetting", beyond, gates.over_forgetting_margin, over, blocking=False),
    ]


def _still_forgotten(
    report: Mapping[str, Any], gates: Gates, earlier: Iterable[str], purged: Mapping[str, str]
) -> list[Criterion]:
    """The earlier batch of which most came back. One that was not measured refuses; none at all: no criterion."""
    block, threshold = _mapping(report.get("earlier")), gates.earlier_forgetting_drop
    entries = block.get("batches")
    told = {str(one.get("batch")): one for one in map(_mapping, entries if isinstance(entries, list) else [])}
    drops = {key: _drops(told.get(key, {})) for key in sorted({*earlier, *told})}
    gone = [key for key, found in drops.items() if key in purged and not found]
    drops = {key: found for key, found in drops.items() if key not in gone}
    for key, found in drops.items():
        if not found or any(drop.value is None for _, drop in found):
            why = told.get(key, {}).get("not_measured") or "the report does not say"
            sentence = f"not measured, whether what batch {key} forgot is still forgotten: {why}"
            bound = f"<= {threshold.value:g}"
            return [Criterion("earlier", "not_measured", True, None, None, None, bound, threshold.source, sentence)]
    worst = max(
        (
            (drop, f"batch {key} had forgotten when it was certified came back ({name})")
            for key in drops
            for name, drop in drops[key]
        ),
        key=lambda one: one[0].value or 0.0,
        default=None,
    )
    judged = [] if worst is None else [_at_most("earlier", worst[0], threshold, f"of what {worst[1]}")]
    return [*judged, *_no_longer_measured([purged[key] for key in gone])]


def _no_longer_measured(sentences: Sequence[str]) -> list[Criterion]:
    """What no evaluation can see any more, since its images are purged: no failure, and nothing that was shown."""
    if not sentences:
        return []
    said = f"not measured any more, for the images are purged: {'; '.join(sentences)}"
    source = "purge records in the forget manifest"
    return [Criterion("earlier_purged", "pass", False, None, None, None, "", source, said)]


def _drops(entry: Mapping[str, Any]) -> list[tuple[str, _Score]]:
    """(set, how much came back), of each set of an earlier batch."""
    return [(str(name), _score({"scores": _mapping(one)}, "drop")) for name, one in _mapping(entry.get("sets")).items()]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _attacked(report: Mapping[str, Any], kind: str, advice: Advice) -> Criterion:
    """The worst that attacks of one kind found. One that was not made, or cannot see here, measured nothing."""
    name, entries = f"attack_{kind}", report.get("attacks")
    made = [one for one in entries if isinstance(one, Mapping)] if isinstance(entries, list) else []
    made = [one for one in made if one.get("kind") == kind and "not_made" not in one]
    signals = [_Score(*(_finite(found.get(part)) for part in _PARTS)) for found in map(_signal, made)]
    bound = f"<= {advice.value:g}"
    if not made or any(signal.value is None for signal in signals) or any(one.get("blind") is True for one in made):
        blind = any(one.get("blind") is True for one in made)
        why = "it cannot tell here even what it is known that it should" if blind else "no finding of it in the report"
        sentence = f"not measured: {why}"
        return Criterion(name, "not_measured", advice.blocking, None, None, None, bound, advice.source, sentence)
    place = max(range(len(made)), key=lambda number: signals[number].value or 0.0)
    return _at_most(name, signals[place], advice, str(_signal(made[place]).get("meaning", "")), advice.blocking)


def _signal(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    found = entry.get("signal")
    return found if isinstance(found, Mapping) else {}


def _bounded(report: Mapping[str, Any], bound: Bound) -> Criterion:
    """What a metric says of the unlearned model on one set, or how many times another model's that is."""
    value = _measured(report, bound.set, "unlearned", bound.metric)
    what = f"{bound.metric} on the {bound.set} set"
    if bound.over is not None:
        other = _measured(report, bound.set, bound.over, bound.metric)
        value = value / other if value is not None and other else None
        what = f"times the {bound.over}'s {what}"
    compare = _at_most if bound.side == "at_most" else _at_least
    return compare(f"{bound.metric}_on_{bound.set}", _Score(value), bound, what, bound.blocking)


def _measured(report: Mapping[str, Any], name: str, role: str, metric: str) -> float | None:
    found: Any = report
    for part in ("sets", name, "metrics", role, metric):
        found = found.get(part) if isinstance(found, Mapping) else None
    return _finite(found)


def _side(beyond: float) -> str:
    if beyond == 0:
        return "forgets as much as the reference"
    return "over-forgets, more than the reference" if beyond > 0 else "forgets less than the reference"


@dataclass(frozen=True, slots=True)
class _Score:
    value: float | None = None
    low: float | None = None
    high: float | None = None


def _score(report: Mapping[str, Any], name: str) -> _Score:
    scores = report.get("scores")
    found = scores.get(name) if isinstance(scores, Mapping) else None
    if not isinstance(found, Mapping):
        return _Score()
    return _Score(*(_finite(found.get(part)) for part in _PARTS))


def _finite(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None


def _ceiling(report: Mapping[str, Any]) -> _Score:
    """The larger of 1 and the reference's own forgetting; unknown when the reference was not measured."""
    reference = _score(report, "reference_forgetting").value
    return _Score() if reference is None else _Score(max(1.0, reference))


def _difference(score: _Score, other: _Score) -> _Score:
    if score.value is None or other.value is None:
        return _Score()
    return _Score(score.value - other.value)


def _at_least(name: str, score: _Score, threshold: Threshold, what: str, blocking: bool = True) -> Criterion:
    holds = score.value is not None and score.value >= threshold.value
    return _compared(name, score, threshold, f">= {threshold.value:g}", holds, what, blocking)


def _at_most(name: str, score: _Score, threshold: Threshold, what: str, blocking: bool = True) -> Criterion:
    holds = score.value is not None and score.value <= threshold.value
    return _compared(name, score, threshold, f"<= {threshold.value:g}", holds, what, blocking)


def _compared(
    name: str, score: _Score, threshold: Threshold, bound: str, holds: bool, what: str, blocking: bool
) -> Criterion:
    status: Status = "not_measured" if score.value is None else "pass" if holds else "fail"
    sentence = "not measured" if score.value is None else f"{score.value:.3f} ({bound}) {what}"
    return Criterion(name, status, blocking, score.value, score.low, score.high, bound, threshold.source, sentence)


def _said(name: str, status: Status, sentence: str) -> Criterion:
    return Criterion(name, status, True, None, None, None, "", "what a report must be to be judged at all", sentence)
