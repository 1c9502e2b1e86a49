"""How an attack learns what it achieved: forgetting on the headline's images, as the report's own score has it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from unlearning.attack import Forgotten, Shown
from unlearning.contracts import Corruption, Generator, ImageSource
from unlearning.log import silent
from unlearning.metrics.mse import Mse
from unlearning.params import Evaluate
from unlearning.verbs import _whole
from unlearning.verbs._measure import MEAN_PICTURE, Subjects, measure
from unlearning.verbs._whole import Nothing

_TARGET = "target"


class Scorer:
    """Forgetting on one set, under the first draw of the evaluation: an `attack.Forgetting`."""

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
        self._subjects = replace(subjects, metrics=[Mse()], extractors={})
        self._original: dict[tuple[str, Shown | None], np.ndarray] = {}  # under what -> [N] errors, measured once

    def __call__(
        self, generator: Generator, corruption: Corruption | None = None, shown: Shown | None = None
    ) -> Forgotten:
        """Errors of `generator`, of the original and of the mean picture, under the same hole and the same sight."""
        hole = corruption or self._subjects.corruption
        model, mean_picture = self._errors(generator, hole, shown)
        key = hole.model_dump_json(), shown
        if key not in self._original:
            self._original[key] = self._errors(self._subjects.models["original"], hole, shown)[0]
        return Forgotten(model, self._original[key], mean_picture)

    def _errors(self, generator: Generator, hole: Corruption, shown: Shown | None) -> tuple[np.ndarray, np.ndarray]:
        """Errors of the generator and of the mean picture, [N] each: what the report's own scores are made of."""
        subjects = replace(self._subjects, models={_TARGET: generator}, corruption=hole, shown=shown)
        what = self._name, self._table, self._images, subjects
        how = self._plan.seeds[:1], self._plan.batch_size, 0, silent
        if self._known is not None and _whole.judges(hole, subjects.models):
            found = _whole.measure(*what, self._known, *how)
        else:
            found = measure(*what, *how)
        errors = found.per_image
        return errors[_TARGET][found.error][:, 0], errors[MEAN_PICTURE][found.error][:, 0]
