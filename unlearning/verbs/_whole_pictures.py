"""The block `whole_pictures` of report.json: what models draw from nothing, and how likely they find what is real.

Copies of an image to forget are counted over all drawn pictures. How good pictures are is said of the others, beside
the retain set: it is about what must be kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearning.contracts import Compared, Corruption, Features, Generator, ImageSource, Metric
from unlearning.log import Log
from unlearning.metrics import _copies, _rate
from unlearning.metrics._inception_score import inception_score
from unlearning.metrics._likelihood import Bits
from unlearning.metrics._neighbourhoods import coverage
from unlearning.metrics.extractors.extractor import Extractor
from unlearning.metrics.frechet import Frechet
from unlearning.metrics.kid import Kid
from unlearning.params import Params
from unlearning.types import Images
from unlearning.verbs import _whole_drawn, _whole_likelihood
from unlearning.workspace import BatchFolder

AGAINST = "retain"  # the set beside which drawn pictures are judged

Block = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Whole:
    """What came of looking at whole pictures. All empty where nothing was asked for."""

    block: Block = field(default_factory=dict)
    shown: Mapping[str, np.ndarray] = field(default_factory=dict)  # role -> [P, C, H, W]; a hidden copy is NaN
    bits: Mapping[tuple[str, str], Bits] = field(default_factory=dict)  # (set, role) -> of the set's first images
    finite: bool = True


def look(
    params: Params,
    batch: BatchFolder,
    models: Mapping[str, Generator],
    images: Mapping[str, ImageSource],
    extractor: Extractor | None,
    device: torch.device,
    log: Log,
) -> Whole:
    """Everything that `evaluate.drawn` and `evaluate.likelihood` ask for."""
    plan, block, shown, finite = params.evaluate, Block(), dict[str, np.ndarray](), True
    if plan.drawn.images:
        order, judge = _order(params, images, device), Judge(params, images, extractor)
        block["drawn"] = {}
        for role, model in models.items():
            drawn = _whole_drawn.pictures(order, batch.asset(f"{role}_checkpoint"), model, batch.workspace, log)
            block["drawn"][role], copied = judge(drawn.images)
            shown[role] = _to_show(params, drawn.images, copied)
            finite &= not drawn.broken
        block |= {"copy_distance": plan.drawn.copy_distance, "seed": plan.drawn.seed, "against": AGAINST}
    bits = _whole_likelihood.measure(plan, models, images, device, log) if plan.likelihood.images else {}
    if bits:
        block["likelihood"] = _whole_likelihood.summary(bits)
    if block:
        named = {"name": extractor.name, "weights_sha256": extractor.weights_sha256} if extractor else None
        block["extractor"] = named
    return Whole(block, shown, bits, finite)


class Judge:
    """What is said of drawn pictures: which are copies of an image to forget, and how good the others are."""

    def __init__(self, params: Params, images: Mapping[str, ImageSource], extractor: Extractor | None) -> None:
        self._plan, self._extractor = params.evaluate, extractor
        retain = _all(images[AGAINST])
        self._forget = _all(images["forget"]) if len(images["forget"]) else retain[:0]  # all of them held out, say
        if params.data.flip:  # training saw them mirrored, too
            self._forget = torch.cat([self._forget, self._forget.flip(-1)])
        if extractor is not None:
            self._forget_features = _features(extractor, self._forget)
            self._real = _features(extractor, retain)

    def __call__(self, drawn: Images) -> tuple[Block, Tensor]:
        """The numbers of one model's pictures, None for what cannot be said, and which are copies, [N] bool."""
        distance = _copies.nearest(drawn, self._forget)
        copied = distance < self._plan.drawn.copy_distance
        rate = asdict(_rate.rate(int(copied.sum()), len(drawn), self._plan.confidence))
        others = drawn[~copied][: self._plan.max_images]
        block = {"images": len(drawn), "copies": rate, "nearest": _known(float(distance.min())), "judged": len(others)}
        return block | self._quality(drawn[: self._plan.max_images], others), copied

    def _quality(self, drawn: Images, others: Images) -> Block:
        found: Block = dict.fromkeys(("similarity", "inception_score", "frechet", "kid", "precision", "recall"))
        if self._extractor is None:
            return found
        found["similarity"] = _copies.similarity(_features(self._extractor, drawn), self._forget_features)
        features = _features(self._extractor, others)
        probabilities = self._extractor.probabilities(features)
        if probabilities is not None:
            mean, deviation = inception_score(probabilities)
            found["inception_score"] = None if math.isnan(mean) else {"mean": mean, "std": deviation}
        cover = coverage(self._real, features)
        values = {"frechet": self._distance(Frechet(), features), "kid": self._distance(Kid(), features)}
        return found | {name: _known(value) for name, value in {**values, **asdict(cover)}.items()}

    def _distance(self, metric: Metric, features: Tensor) -> float:
        nothing = torch.empty(len(features), 0)
        return float(metric(Compared(nothing, nothing, nothing, {"auto": Features(self._real, features)})))


def _order(params: Params, images: Mapping[str, ImageSource], device: torch.device) -> _whole_drawn.Order:
    plan = params.evaluate
    channels, height, width = images[AGAINST](torch.tensor([0])).shape[1:]
    corruption = Corruption.chosen(params.corruption, "corruption")
    shape = (channels, height, width)
    return _whole_drawn.Order(plan.drawn.images, plan.drawn.seed, shape, corruption, plan.batch_size, device)


def _all(images: ImageSource) -> Images:
    return images(torch.arange(len(images)))


def _features(extractor: Extractor, images: Images) -> Tensor:
    """[N, F] float64."""
    return torch.cat([extractor(part) for part in torch.split(images, 256)])


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _to_show(params: Params, drawn: Images, copied: Tensor) -> np.ndarray:
    """The first few. A copy of an image to forget is one, and is left blank where those may not be shown."""
    row = drawn[: params.report.pictures].numpy().copy()
    if not params.report.show_forget_images:
        row[copied[: len(row)].numpy()] = np.nan
    return row
