"""Attacks on the unlearned model and on the reference, scored as the report's forgetting is: curves for report.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from unlearning.contracts import Attack, Corruption, Curve, Generator, ImageSource, Preparation
from unlearning.data.images import ImageSet
from unlearning.log import Log, Progress, silent
from unlearning.metrics._scores import moved
from unlearning.metrics.mse import Mse
from unlearning.params import Evaluate, Params
from unlearning.randomness import Draws
from unlearning.verbs import _whole
from unlearning.verbs._measure import MEAN_PICTURE, Subjects, measure
from unlearning.verbs._whole import Nothing
from unlearning.workspace import BatchFolder

TARGETS = ("unlearned", "reference")
_MOST_IMAGES = 256  # a curve has several points, for two models: a mean over so many is steady enough for a difference
_TARGET = "target"


class Scorer:
    """Forgetting on one set, under the first draw of the evaluation: a `contracts.Forgetting`."""

    def __init__(
        self,
        name: str,
        table: pa.Table,
        images: ImageSource,
        subjects: Subjects,
        plan: Evaluate,
        known: Nothing | None = None,  # what who knows nothing knows, for a corruption that leaves nothing
    ) -> None:
        self._name, self._table, self._images, self._plan, self._known = name, table, images, plan, known
        self._subjects = replace(subjects, metrics=[Mse()], extractor=None)
        self._original: dict[str, np.ndarray] = {}  # corruption -> [N, 1] error of the original, measured once

    def __call__(self, generator: Generator, corruption: Corruption | None = None) -> float:
        """0 = like the original, 1 = as wrong as the mean picture; NaN where nothing can be said."""
        hole = corruption or self._subjects.corruption
        model, mean_picture = self._errors(generator, hole)
        key = hole.model_dump_json()
        if key not in self._original:
            self._original[key] = self._errors(self._subjects.models["original"], hole)[0]
        score = moved(model, self._original[key], mean_picture, 1, self._plan.confidence, measured_on=self._name)
        return math.nan if score is None else score.value

    def _errors(self, generator: Generator, hole: Corruption) -> tuple[np.ndarray, np.ndarray]:
        """Errors of the generator and of the mean picture, [N, 1] each: what the report's own scores are made of."""
        subjects = replace(self._subjects, models={_TARGET: generator}, corruption=hole)
        what = self._name, self._table, self._images, subjects
        how = self._plan.seeds[:1], self._plan.batch_size, 0, silent
        if self._known is not None and _whole.judges(hole, subjects.models):
            found = _whole.measure(*what, self._known, *how)
        else:
            found = measure(*what, *how)
        return found.per_image[_TARGET][found.error], found.per_image[MEAN_PICTURE][found.error]


def curves(
    params: Params,
    batch: BatchFolder,
    name: str,
    tables: Mapping[str, pa.Table],
    images: Mapping[str, ImageSource],
    subjects: Subjects,
    known: Nothing | None,
    log: Log,
) -> list[dict[str, Any]]:
    """One entry an attack of `evaluate.attacks`, in order, as a JSON value; `name` is the set that is scored."""
    plan = params.evaluate
    if not plan.attacks:
        return []
    table, scored = _some(tables[name], images[name], params, batch)
    forgetting = Scorer(name, table, scored, subjects, plan, known)
    attacks = [Attack.chosen(choice, "evaluate.attacks") for choice in plan.attacks]
    found: list[dict[str, Any]] = []
    for place, attack in enumerate(attacks):
        draws = Draws(plan.seeds[0], 1, where=("attack", attack.kind), device=subjects.device)
        sources = images["forget"], images["retain"]
        given = Preparation(subjects.models["original"], *sources, subjects.corruption, draws, subjects.device)
        made = {}
        for number, role in enumerate(TARGETS, 1):
            made[role] = attack.curve(subjects.models[role], given, forgetting)
            log(Progress("evaluate attacks", place * len(TARGETS) + number, len(attacks) * len(TARGETS)))
        found.append(
            {
                "kind": attack.kind,
                "recipe": attack.model_dump(mode="json"),
                "set": name,
                "images": len(table),
                "effort_unit": made[TARGETS[0]].effort_unit,
                **{role: _as_json(curve) for role, curve in made.items()},
            }
        )
    return found


def _some(table: pa.Table, images: ImageSource, params: Params, batch: BatchFolder) -> tuple[pa.Table, ImageSource]:
    """At most `_MOST_IMAGES`, evenly over the set: one sorted by class is no bias."""
    if len(table) <= _MOST_IMAGES:
        return table, images
    part = table.take(np.arange(_MOST_IMAGES) * len(table) // _MOST_IMAGES)
    return part, ImageSet(part, batch.workspace, params.data)


def _as_json(curve: Curve) -> dict[str, Sequence[float | None]]:
    """A point of which nothing can be said is null."""
    values = [value if math.isfinite(value) else None for value in curve.forgetting]
    return {"effort": list(curve.effort), "forgetting": values}
