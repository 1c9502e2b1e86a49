"""Which extractors an evaluation sees through, and which of its metrics cannot be measured for want of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from unlearning import digests
from unlearning.contracts import Corruption, ImageSource, Metric
from unlearning.metrics.extractors import catalogue, in_domain
from unlearning.metrics.extractors.extractor import Extractor
from unlearning.params import Params
from unlearning.verbs._seen import WHOLE
from unlearning.workspace import BatchFolder

AUTO = "auto"  # the one that everything reads that names none


@dataclass(frozen=True, slots=True)
class Eyes:
    """By the names that metrics ask for."""

    extractors: Mapping[str, Extractor]
    metrics: Sequence[Metric]  # those that can be measured
    not_measured: Mapping[str, str]  # name of a metric -> why it cannot
    forget: Mapping[str, Tensor]  # extractor -> [M, F], of the whole images to forget

    @property
    def auto(self) -> Extractor | None:
        """What features are read through where nothing else is said."""
        return self.extractors.get(AUTO)

    @property
    def block(self) -> dict[str, Any]:
        """What report.json says: each extractor with its weights, and why a metric has no number."""
        said = {
            name: {"name": extractor.name, "weights_sha256": extractor.weights_sha256}
            for name, extractor in self.extractors.items()
        }
        return {
            "extractor": said.get(AUTO),
            **({"extractors": said} if said else {}),
            **({"not_measured": dict(self.not_measured)} if self.not_measured else {}),
        }


def open_for(
    metrics: Sequence[Metric],
    params: Params,
    batch: BatchFolder,
    tables: Mapping[str, pa.Table],
    images: Mapping[str, ImageSource],
    corruption: Corruption,
    device: torch.device,
    also_auto: bool = False,
) -> Eyes:
    """Find what `metrics` ask for."""
    trained = _Trained(params, batch, tables, images, corruption, device)
    named = params.evaluate.extractor_weights
    wanted = list(dict.fromkeys([*catalogue.asked(metrics), *([AUTO] if also_auto else [])]))
    found = {name: catalogue.find(name, device, named, trained) for name in wanted}
    reasons = {
        metric.name: reason
        for metric in metrics
        if (name := metric.through()) is not None and (reason := catalogue.lacking(metric, found[name])) is not None
    }
    extractors = {name: each for name, each in found.items() if isinstance(each, Extractor)}
    forget = {}
    if WHOLE in extractors and len(images["forget"]):
        rows = torch.split(torch.arange(len(images["forget"])), params.evaluate.batch_size)
        forget[WHOLE] = torch.cat([extractors[WHOLE](images["forget"](part)) for part in rows])
    return Eyes(extractors, [metric for metric in metrics if metric.name not in reasons], reasons, forget)


def auto(
    params: Params,
    batch: BatchFolder,
    tables: Mapping[str, pa.Table],
    images: Mapping[str, ImageSource],
    corruption: Corruption,
    device: torch.device,
) -> Extractor | None:
    """Inception where its weights are here, else a classifier trained on the retain images of this batch."""
    trained = _Trained(params, batch, tables, images, corruption, device)
    found = catalogue.find(AUTO, device, params.evaluate.extractor_weights, trained)
    return found if isinstance(found, Extractor) else None


@dataclass(frozen=True, slots=True)
class _Trained:
    """The classifier trained in domain, from its cache where it was trained before: a `catalogue.Train`."""

    params: Params
    batch: BatchFolder
    tables: Mapping[str, pa.Table]
    images: Mapping[str, ImageSource]
    corruption: Corruption
    device: torch.device

    def __call__(self) -> Extractor | None:
        retain = self.tables["retain"]
        made_of = [retain["sha256"].to_pylist(), self.params.section_digest("data"), self.corruption.model_dump()]
        cache = self.batch.workspace.work("extractors") / f"{digests.of_value(made_of)}.safetensors"
        labels = retain["class"].to_pylist()
        return in_domain.train(self.images["retain"], labels, self.corruption, cache, self.device)
