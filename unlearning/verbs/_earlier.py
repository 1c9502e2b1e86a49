"""Is what earlier batches forgot still forgotten? Their images are drawn again, by this batch's unlearned model.

    earlier_forgetting(b) = (E_now - E_knew) / (E_nothing - E_knew)      over the images of batch b (metrics/_scores.py)
    drop(b)               = min(1, the same with E_then) - earlier_forgetting(b)

E_knew is the error of the batch's own original, which had learnt the images; E_then that of the model it was certified
with. What was beyond knowing nothing when it was certified may come back to knowing nothing: that is no restoring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from unlearning import files
from unlearning.contracts import Generator
from unlearning.data.images import ImageSet
from unlearning.errors import EvidenceError, UnlearningError
from unlearning.evidence import lineage
from unlearning.log import Log, Progress
from unlearning.metrics._scores import Score, moved
from unlearning.params import Evaluate, Params
from unlearning.randomness import generator
from unlearning.training import checkpoint
from unlearning.verbs import _certified_then, _measure, _whole
from unlearning.verbs._certified_then import Like, Then
from unlearning.verbs._measure import MEAN_PICTURE, Subjects
from unlearning.verbs._scored import as_json
from unlearning.verbs._whole import Nothing
from unlearning.workspace import BatchFolder, Workspace

_FEWEST = 16  # images of a batch that are looked at, however many batches there were before
_ENOUGH = 20  # held-out images, below which only those that training saw are judged, as for the headline score
_Errors = dict[str, np.ndarray]  # now, reference, original, then, mean_picture -> [K, S] float64


@dataclass(frozen=True, slots=True)
class Found:
    """One set of an earlier batch: K of its N images under S draws."""

    batch: str
    name: str  # forget | forget_holdout
    table: pa.Table  # K rows
    of: int  # N
    errors: _Errors
    recorded: bool  # False: the models of then were measured again


@dataclass(frozen=True, slots=True)
class Earlier:
    """What came out; nothing where nothing was forgotten before."""

    block: dict[str, Any] | None = None  # of report.json
    scores: dict[str, dict[str, Any] | None] = field(default_factory=dict)  # over the trained images of every batch
    found: tuple[Found, ...] = ()


def made(params: Params, batch: BatchFolder, subjects: Subjects, known: Nothing | None, log: Log) -> Earlier:
    """Measure every earlier batch's images with the unlearned model, and with the reference, which never saw them."""
    said = files.read_json(batch.asset("forget_manifest") / "resolution.json").get("earlier", [])
    if not said:
        return Earlier()
    look = _Look.of(params, batch.workspace, subjects, known, max(_FEWEST, params.evaluate.max_images // len(said)))
    everything, entries = list[Found](), []
    for number, one in enumerate(said, 1):
        if "purged" in one:  # nothing is left to draw; its record, and not this report, excuses it
            entries.append(one)
            continue
        try:
            sets = list(look.at(batch.workspace.batch(one["batch"]), one["sha256"]))
            told = {found.name: _entry(found, params.evaluate) for found in sets}
            entries.append({"batch": one["batch"], "sets": told})
            everything += sets
        except UnlearningError as error:
            entries.append({"batch": one["batch"], "not_measured": str(error)})
        log(Progress("evaluate earlier", number, len(said)))
    block = {"images": sum(len(found.table) for found in everything), "batches": entries}
    return Earlier(block, _pooled(everything, params.evaluate), tuple(everything))


def per_image(earlier: Earlier) -> pa.Table:
    """One row an image, draw and model: nothing in the report is only a mean."""
    parts = []
    for found in earlier.found:
        for role, values in found.errors.items():
            n, seeds = values.shape
            rows = found.table.select(["key", "class"]).take(np.repeat(np.arange(n), seeds))
            for name, text in (("batch", found.batch), ("set", found.name), ("model", role)):
                rows = rows.append_column(name, pa.array([text] * len(rows)))
            rows = rows.append_column("draw", pa.array(np.tile(np.arange(seeds), n)))
            parts.append(rows.append_column("error", pa.array(values.reshape(-1))))
    return pa.concat_tables(parts)


@dataclass(frozen=True, slots=True)
class _Look:
    """How every earlier batch is looked at."""

    params: Params
    workspace: Workspace
    subjects: Subjects
    known: Nothing | None
    like: Like
    most: int  # images of one set

    @classmethod
    def of(cls, params: Params, workspace: Workspace, subjects: Subjects, known: Nothing | None, most: int) -> _Look:
        chosen = (params.evaluate.corruption or params.corruption).model_dump(mode="json")
        like = Like(chosen, list(params.evaluate.seeds), "mse" if known is None else _whole.SURPRISE)
        return cls(params, workspace, subjects, known, like, most)

    def at(self, other: BatchFolder, sha256: str) -> Iterator[Found]:
        """Its sets. Raises UnlearningError naming what is not there any more."""
        forget = _certified_then.forgotten(other, sha256)
        recorded = _certified_then.recorded(other, forget, self.like)
        for name, then in (_certified_then.unmeasured(forget) if recorded is None else recorded).items():
            if name == "forget" or len(then.table) >= _ENOUGH:
                rows = self._sampled(other.key, name, len(then.table))
                errors = self._errors(other, name, then, rows)
                yield Found(other.key, name, then.table.take(rows), len(then.table), errors, then.errors is not None)

    def _sampled(self, key: str, name: str, n: int) -> list[int]:
        if n <= self.most:
            return list(range(n))
        return sorted(torch.randperm(n, generator=generator(0, "evaluate", "earlier", key, name))[: self.most].tolist())

    def _errors(self, other: BatchFolder, name: str, then: Then, rows: Sequence[int]) -> _Errors:
        images = ImageSet(*_certified_then.images(other, then.table), self.params.data)
        of_today = {role: self.subjects.models[role] for role in ("unlearned", "reference")}
        now = self._measured(name, images, rows, of_today)
        if then.errors is not None:
            before = {role: values[rows] for role, values in then.errors.items()}
        else:
            before = self._measured(
                name, images, rows, {role: self._loaded(other, role) for role in ("original", "unlearned")}
            )
        return {
            "now": now["unlearned"],
            "reference": now["reference"],
            "original": before["original"],
            "then": before["unlearned"],
            MEAN_PICTURE: before[MEAN_PICTURE],
        }

    def _measured(
        self, name: str, images: ImageSet, rows: Sequence[int], models: dict[str, Generator]
    ) -> dict[str, np.ndarray]:
        subjects, plan = replace(self.subjects, models=models), self.params.evaluate
        if self.known is not None:
            return _whole.errors(name, images, rows, subjects, self.known, plan.seeds, plan.batch_size)
        return _measure.errors(name, images, rows, subjects, plan.seeds, plan.batch_size)

    def _loaded(self, other: BatchFolder, role: str) -> Generator:
        asset = f"{role}_checkpoint"
        if not lineage.intact(lineage.read(other, asset), other):
            raise EvidenceError(
                f"its evaluation was made otherwise than this one, and {other.asset(asset)} is not whole any more"
            )
        return checkpoint.load(other.asset(asset)).eval().to(self.subjects.device)


def _entry(found: Found, plan: Evaluate) -> dict[str, Any]:
    """What report.json says of one set."""
    now, then = _score(found.errors, "now", plan, found.name), _score(found.errors, "then", plan, found.name)
    return {
        "images": len(found.table),
        "of": found.of,
        "then": "as recorded" if found.recorded else "measured again",
        "forgetting": as_json(now),
        "certified": as_json(then),
        "drop": None if now is None or then is None else _drop(now, min(1.0, then.value)),
    }


def _drop(now: Score, certified: float) -> dict[str, float | None]:
    """How much came back, with the interval of what is measured now."""
    bounds = {"value": certified - now.value, "low": certified - now.high, "high": certified - now.low}
    return {name: float(value) if np.isfinite(value) else None for name, value in bounds.items()}


def _pooled(found: Sequence[Found], plan: Evaluate) -> dict[str, dict[str, Any] | None]:
    trained = [one.errors for one in found if one.name == "forget"]
    whole = {role: np.concatenate([errors[role] for errors in trained]) for role in trained[0]} if trained else None
    return {
        name: None if whole is None else as_json(_score(whole, role, plan, "earlier"))
        for name, role in (("earlier_forgetting", "now"), ("reference_earlier_forgetting", "reference"))
    }


def _score(errors: _Errors, role: str, plan: Evaluate, measured_on: str) -> Score | None:
    scale = errors["original"], errors[MEAN_PICTURE]
    return moved(errors[role], *scale, plan.bootstrap, plan.confidence, measured_on=measured_on)
