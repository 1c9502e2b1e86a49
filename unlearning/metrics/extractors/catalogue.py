"""Which extractor a metric gets by the name it asks for.

`auto`, `perceptual` and `copies` are questions, not networks: the published network for it where its weights are on
this machine, else the classifier trained in domain, whose name says what it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch

from unlearning.contracts import Metric
from unlearning.errors import CheckpointError
from unlearning.metrics.extractors import backbone, copies, inception, vision_transformer
from unlearning.metrics.extractors.extractor import Extractor

Train = Callable[[], Extractor | None]  # the classifier trained in domain; None with fewer than two classes

_PUBLISHED: dict[str, Callable[[torch.device, Path | None], Extractor | str]] = {
    "inception": lambda device, named: inception.load(device, named),
    "clip": vision_transformer.clip,
    "dino": vision_transformer.dino,
    "torchvision": backbone.load,
    "copies": copies.load,
}
_FIRST = {"auto": "inception", "perceptual": "torchvision", "copies": "copies"}
_NOT = {"perceptual": "in-domain perceptual distance, no LPIPS", "copies": "in-domain similarity, no SSCD"}
_ONE_CLASS = "no extractor: none is on this machine and the retain images are of one class, too few to train one"


def find(name: str, device: torch.device, named: Path | None, train: Train) -> Extractor | str:
    """The extractor that `name` asks for, or the sentence that says why there is none.

    A file that is damaged or not what its name says is none, and the sentence says so.
    """
    if name != "in_domain":
        try:
            found = _PUBLISHED[_FIRST.get(name, name)](device, named)
        except CheckpointError as error:
            found = str(error)
        if isinstance(found, Extractor) or name not in _FIRST:
            return found
    trained = train()
    if trained is None:
        return _ONE_CLASS
    return replace(trained, name=f"{_NOT[name]}: {trained.name}") if name in _NOT else trained


def lacking(metric: Metric, extractor: Extractor | str) -> str | None:
    """Why `metric` cannot be measured through `extractor`; None where it can."""
    if isinstance(extractor, str):
        return extractor
    if metric.reads == "classes" and extractor.head is None:
        return f"{extractor.name} has no classes"
    if metric.reads == "layers" and extractor.depths is None:
        return f"{extractor.name} is not looked into at several depths"
    return None


def asked(metrics: Iterable[Metric]) -> list[str]:
    """The names of the extractors that `metrics` read, each once."""
    return list(dict.fromkeys(name for metric in metrics if (name := metric.through()) is not None))


def known() -> list[str]:
    """Every name that may be asked for."""
    return sorted({*_FIRST, *_PUBLISHED, "in_domain"})
