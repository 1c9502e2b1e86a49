"""What attacks found, as report.json says it: means, intervals, and the one number that a gate judges, the signal.

    a curve     known  = max(0, 1 - forgetting), 0 of what is drawn as wrong as the mean picture or worse
                beyond = max over effort of (known of the unlearned model - known of the reference)
                back   = max over effort of known, less known before any effort, of the unlearned model
    a telling   beyond = AUC of the unlearned model - AUC of the reference (or of the original, where it says so)

`beyond` is 0 for a model that is like one which never saw the images, whatever the attack brings by itself: that is
what the goal never_seen asks. Who asked that images be unreconstructable is not helped by a model that never saw them
and draws them as well, so of a curve that goal's signal is `back`, but where the attack itself brings along what was
forgotten (images, or the original's weights): that gives it to who never saw them, too. Intervals are bootstraps over
images, the same images of both models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearning.attack import Curve, Finding, Forgotten, Separation, Told
from unlearning.metrics import _separation
from unlearning.params import Evaluate, Goal


def entry(found: Mapping[str, Finding], control: Separation | None, plan: Evaluate, goal: Goal) -> dict[str, Any]:
    """One attack on every model, by role, as a JSON value. Roles: original, unlearned, reference."""
    first = found["unlearned"]
    if isinstance(first, Curve):
        curves = {role: one for role, one in found.items() if isinstance(one, Curve)}
        return {
            "finding": "curve",
            "effort_unit": first.effort_unit,
            **({"places": list(first.places)} if first.places else {}),
            **{role: _curve(one, plan) for role, one in curves.items()},
            "signal": _back(curves["unlearned"], plan)
            if goal == "unreconstructable" and not first.teaches
            else _recovered(curves["unlearned"], curves["reference"], plan),
        }
    told = {role: one for role, one in found.items() if isinstance(one, Told)}
    positive = None if control is None else _separation_as_json(control, plan)
    return {
        "finding": "told",
        "groups": list(first.groups),
        "two_sided": first.two_sided,
        "beside": first.beside,
        **({} if control is None else {"control": positive, "blind": _blind(positive)}),
        **{role: _told(one, plan) for role, one in told.items()},
        "signal": _beyond(told["unlearned"], told[first.beside], plan),
    }


def _curve(curve: Curve, plan: Evaluate) -> dict[str, Any]:
    points = [_forgotten(point, plan) for point in curve.forgetting]
    return {
        "effort": list(curve.effort),
        **{name: [point[place] for point in points] for place, name in enumerate(("forgetting", "low", "high"))},
        **_numbers(curve.numbers),
    }


def _told(told: Told, plan: Evaluate) -> dict[str, Any]:
    return {
        "separations": [_separation_as_json(one, plan) for one in told.separations],
        **_numbers(told.numbers),
    }


def _numbers(numbers: Mapping[str, float]) -> dict[str, Any]:
    return {"numbers": {name: _finite(value) for name, value in numbers.items()}} if numbers else {}


def _separation_as_json(one: Separation, plan: Evaluate) -> dict[str, Any]:
    """A score of which nothing can be said has an AUC of null."""
    apart = _separation.apart(one.one, one.other, plan.bootstrap, plan.confidence)
    if apart is None:
        return {
            "name": one.name,
            "auc": None,
            "low": None,
            "high": None,
            "ones": len(one.one),
            "others": len(one.other),
        }
    return {
        "name": one.name,
        "auc": apart.auc,
        "low": apart.low,
        "high": apart.high,
        "tpr_at_1_percent": apart.true_positives[0],
        "tpr_at_0.1_percent": apart.true_positives[1],
        "ones": apart.ones,
        "others": apart.others,
    }


def _blind(control: Mapping[str, Any] | None) -> bool:
    """Whether the attack cannot tell even what it is known that it should: then its silence is no evidence."""
    return control is None or control["low"] is None or control["low"] <= 0.5


def _forgotten(point: Forgotten, plan: Evaluate) -> tuple[float | None, float | None, float | None]:
    """Value and interval of one point of a curve; null where nothing can be said."""
    if not _telling(point):
        return None, None, None
    low, high = _interval(_ratios(point, plan), plan)
    return point.value, low, high


def _recovered(unlearned: Curve, reference: Curve, plan: Evaluate) -> dict[str, Any] | None:
    """The most that came back over all points after the first; of an attack of one point, at that one."""
    pairs = list(zip(unlearned.forgetting, reference.forgetting, strict=True))
    pairs = pairs[1:] or pairs
    if not all(_finite_numbers(point) for pair in pairs for point in pair):
        return None
    pairs = [pair for pair in pairs if _telling(pair[0])]  # the scale is the original's: of both or of neither
    if not pairs:
        return None
    value = max(_known(one.value) - _known(other.value) for one, other in pairs)
    again = np.max([_known(_ratios(one, plan)) - _known(_ratios(other, plan)) for one, other in pairs], axis=0)
    low, high = _interval(again, plan)
    return {"value": float(value), "low": low, "high": high, "meaning": "known again, beyond the reference"}


def _back(unlearned: Curve, plan: Evaluate) -> dict[str, Any] | None:
    """How much more is known at most than at the first point; of an attack of one point nothing is said."""
    first, later = unlearned.forgetting[0], unlearned.forgetting[1:]
    if not all(map(_finite_numbers, unlearned.forgetting)):
        return None
    later = [point for point in later if _telling(point)]
    if not later or not _telling(first):
        return None
    value = max(_known(point.value) for point in later) - _known(first.value)
    again = np.max([_known(_ratios(point, plan)) for point in later], axis=0) - _known(_ratios(first, plan))
    low, high = _interval(again, plan)
    return {"value": float(value), "low": low, "high": high, "meaning": "known again"}


def _known(forgetting: Any) -> Any:
    """The share that is known: what is drawn worse than the mean picture is known as little as that."""
    return np.maximum(0.0, 1.0 - np.asarray(forgetting))


def _telling(point: Forgotten) -> bool:
    """Whether the original itself is better there than the mean picture: under a hole it never learnt it may not be."""
    return _finite_numbers(point) and math.isfinite(point.value)


def _finite_numbers(point: Forgotten) -> bool:
    return bool(np.isfinite(np.stack([point.errors, point.original, point.nothing])).all())


def _ratios(point: Forgotten, plan: Evaluate) -> np.ndarray:
    """[resamples] of forgetting, the same images picked of every point; NaN = no scale."""
    picks = np.random.default_rng(0).integers(len(point.errors), size=(plan.bootstrap, len(point.errors)))
    model, original, nothing = (part[picks].mean(axis=1) for part in (point.errors, point.original, point.nothing))
    ratios: np.ndarray = (model - original) / np.where(nothing > original, nothing - original, np.nan)
    return ratios


def _interval(values: np.ndarray, plan: Evaluate) -> tuple[float | None, float | None]:
    known = values[np.isfinite(values)]
    if not len(known):
        return None, None
    tail = (1 - plan.confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _beyond(unlearned: Told, beside: Told, plan: Evaluate) -> dict[str, Any] | None:
    here, there = unlearned.separations[0], beside.separations[0]
    found = _separation.further(
        (here.one, here.other), (there.one, there.other), unlearned.two_sided, plan.bootstrap, plan.confidence
    )
    if found is None:
        return None
    value, low, high = found
    return {"value": value, "low": low, "high": high, "meaning": f"AUC beyond the {unlearned.beside}'s"}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
