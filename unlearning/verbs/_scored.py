"""The scores of report.json, from what was measured: which set carries which, and None for what cannot be said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from unlearning.metrics import _observer
from unlearning.metrics._scores import Score, kept, moved, moved_bounded
from unlearning.params import Evaluate
from unlearning.verbs._measure import MEAN_PICTURE, Measured

OBSERVED = ("forget_holdout", "forget")  # by an observer; the first set that is large enough carries its score
_ENOUGH = 20  # held-out images to forget, below which the trained ones carry the headline score


def scores(plan: Evaluate, measured: Mapping[str, Measured]) -> dict[str, dict[str, Any] | None]:
    """Every normalised score, by the name it has in report.json, as a JSON value."""
    headline = headline_set(measured)
    kept_on = "holdout" if "holdout" in measured else "retain"
    score, bounded = (partial(_score, how, plan, measured) for how in (moved, moved_bounded))
    found = {
        "forgetting": score("unlearned", headline),
        "forgetting_trained": score("unlearned", "forget"),
        "retention": kept(score("unlearned", kept_on)),
        "retention_trained": kept(score("unlearned", "retain")),
        "reference_forgetting": score("reference", headline),
        "reference_forgetting_trained": score("reference", "forget"),
        "reference_retention": kept(score("reference", kept_on)),
    }
    if "siblings" in measured:
        found["sibling_retention"] = kept(score("unlearned", "siblings"))
        found["reference_sibling_retention"] = kept(score("reference", "siblings"))
    found |= {
        "forgetting_bounded": bounded("unlearned", headline),
        "forgetting_trained_bounded": bounded("unlearned", "forget"),
        "reference_forgetting_bounded": bounded("reference", headline),
        "reference_forgetting_trained_bounded": bounded("reference", "forget"),
        "observer_auc": _observed("unlearned", plan, measured),
        "observer_auc_original": _observed("original", plan, measured),
    }
    return {name: as_json(value) for name, value in found.items()}


def of_classes(plan: Evaluate, measured: Mapping[str, Measured]) -> dict[str, dict[str, Any] | None]:
    """Retention of the kept class that lost most; one of too few held-out images says nothing.

    The worst of many is low by chance, too: its interval, which is of that class alone, says how far.
    """
    found = measured.get("holdout")
    if found is None:
        return {"class_retention": None}
    classes = np.array(found.table["class"].to_pylist())
    names, sizes = np.unique(classes, return_counts=True)
    errors = [found.per_image[who][found.error] for who in ("unlearned", "original", MEAN_PICTURE)]

    def of_class(name: str, resamples: int) -> Score | None:
        model, original, mean = (some[classes == name] for some in errors)
        return kept(moved(model, original, mean, resamples, plan.confidence, "holdout"))

    each = {name: of_class(name, 1) for name in names[sizes >= _ENOUGH].tolist()}
    known = {name: score.value for name, score in each.items() if score is not None}
    return {"class_retention": as_json(of_class(min(known, key=known.__getitem__), plan.bootstrap)) if known else None}


def headline_set(measured: Mapping[str, Measured]) -> str:
    """Which set's forgetting is the headline: images to forget that training never saw, where there are enough."""
    held_out = measured.get("forget_holdout")
    return "forget_holdout" if held_out is not None and held_out.table.num_rows >= _ENOUGH else "forget"


def _score(
    how: Callable[..., Score | None], plan: Evaluate, measured: Mapping[str, Measured], role: str, name: str
) -> Score | None:
    found = measured.get(name)
    if found is None:
        return None
    errors = (found.per_image[who][found.error] for who in (role, "original", MEAN_PICTURE))
    return how(*errors, plan.bootstrap, plan.confidence, measured_on=name)


def _observed(role: str, plan: Evaluate, measured: Mapping[str, Measured]) -> Score | None:
    """How well an observer tells the pictures of `role` from the reference's, of images to forget.

    None where no picture was made: an observer of surprise would see weights, not what was learnt.
    """
    for name in OBSERVED:
        found = measured.get(name)
        if found is not None and found.looks and found.table.num_rows >= _observer.FEWEST:
            looks = found.looks[role], found.looks["reference"]
            return _observer.told_apart(*looks, plan.bootstrap, plan.confidence, measured_on=name)
    return None


def as_json(score: Score | None) -> dict[str, Any] | None:
    """A score as report.json has it; an end of its interval that is not finite is null."""
    if score is None:
        return None
    bounds = {"low": score.low, "high": score.high}
    finite = {name: float(bound) if np.isfinite(bound) else None for name, bound in bounds.items()}
    return {"value": score.value, **finite, "images": score.images, "set": score.measured_on}
