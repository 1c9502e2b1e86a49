"""Metrics that see pictures through a network: which one is a field of theirs, and a report names them by it."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unlearning.contracts import Compared, Features, Metric, Reads


class Through(Metric):
    """Base of metrics over features; `auto` is Inception where its weights are on this machine, else in domain."""

    reads: ClassVar[Reads] = "features"

    extractor: Literal["auto", "inception", "clip", "dino", "torchvision", "in_domain"] = Field(
        "auto",
        description="whose features; auto = Inception where its weights are on this machine, else a classifier trained "
        "on the data set. One that is not here leaves the metric not measured, and the report says so",
    )

    @property
    def name(self) -> str:
        """Its kind; kind_extractor where one is named, so that one kind may stand in a report several times."""
        return self.kind if self.extractor == "auto" else f"{self.kind}_{self.extractor}"

    def through(self) -> str:
        """The extractor."""
        return self.extractor

    def seen(self, compared: Compared) -> Features | None:
        """What it reads; None where there is no such extractor."""
        return compared.features.get(self.extractor)


def unknown(images: int | None = None) -> Tensor:
    """NaN: [B] of that many images, or [] of a set."""
    return torch.full(() if images is None else (images,), float("nan"), dtype=torch.float64)
