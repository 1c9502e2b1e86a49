"""Who is told of some images which group they are of, and guesses for the rest: scores of every image, out of fold.

Each image is guessed by a judge that was told of four fifths of both groups and not of it (five folds, fewer for groups
smaller than that). Features are standardised by what the judge was told of. Below 0.5 an AUC of such scores is chance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from unlearning.attack import PerImageNumbers, Separation
from unlearning.attacks._known_by import Features

FEWEST = 2  # images a group: one to be told of, one to guess
_FOLDS = 5
_VISIBLE = 1e-9  # of a feature's largest magnitude: what varies less is rounding, and would be blown up

Judge: TypeAlias = Callable[[Features, PerImageNumbers, Features], PerImageNumbers]  # told, 1 or 0 of each, asked


def guessed(name: str, judge: Judge, one: Features, other: Features) -> Separation:
    """Of groups [N, F] and [M, F]. Scores are NaN where a feature is not finite: nothing can be said then."""
    features, truth = np.concatenate([one, other]), np.repeat([1.0, 0.0], [len(one), len(other)])
    scores = np.full(len(features), np.nan)
    if np.isfinite(features).all():
        fold = np.concatenate([_fold(len(part), min(_FOLDS, len(one), len(other))) for part in (one, other)])
        for held_out in range(int(fold.max()) + 1):
            told = fold != held_out
            known, asked = _standard(features[told], features[~told])
            scores[~told] = judge(known, truth[told], asked) if known.shape[1] else 0.0
    return Separation(name, scores[: len(one)], scores[len(one) :])


def linear(penalty: float) -> Judge:
    """A logistic regression, both groups weighing the same; `penalty` of the squared weights."""

    def judge(told: Features, truth: PerImageNumbers, asked: Features) -> PerImageNumbers:
        from sklearn.linear_model import LogisticRegression  # a second to import: only who judges waits

        fitted = LogisticRegression(C=1 / penalty, class_weight="balanced", max_iter=5_000).fit(told, truth)
        return np.asarray(fitted.decision_function(asked), dtype=np.float64)

    return judge


def neighbours(count: int) -> Judge:
    """The share of the `count` nearest that are of the one group, Euclidean; fewer where fewer are known."""

    def judge(told: Features, truth: PerImageNumbers, asked: Features) -> PerImageNumbers:
        from sklearn.neighbors import KNeighborsClassifier

        fitted = KNeighborsClassifier(min(count, len(told))).fit(told, truth)
        return np.asarray(fitted.predict_proba(asked)[:, 1], dtype=np.float64)

    return judge


def area(separation: Separation) -> float:
    """Its AUC; 0.5 where nothing can be said. For choosing: what is reported is made elsewhere, with an interval."""
    from sklearn.metrics import roc_auc_score

    one, other = separation.one, separation.other
    scores = np.concatenate([one, other])
    if not (len(one) and len(other) and np.isfinite(scores).all()):
        return 0.5
    return float(roc_auc_score(np.repeat([1, 0], [len(one), len(other)]), scores))


def _fold(images: int, folds: int) -> PerImageNumbers:
    """[N], each fold as often as any other; which image is in which does not depend on the model."""
    return np.asarray(np.random.default_rng(0).permutation(images) % folds, dtype=np.float64)


def _standard(told: Features, asked: Features) -> tuple[Features, Features]:
    """Both in deviations of what was told from its mean, without what does not vary."""
    mean, deviation = told.mean(axis=0), told.std(axis=0)
    seen = deviation > _VISIBLE * np.abs(told).max(axis=0)
    return (told - mean)[:, seen] / deviation[seen], (asked - mean)[:, seen] / deviation[seen]
