"""How likely each model finds images to forget and images to keep: relative bits per dimension, image by image.

Images to forget that an unlearned model finds far less likely than the reference does are over-forgotten: who looks at
the numbers can tell what was deleted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch

from unlearning.abilities import Denoising
from unlearning.contracts import Generator, ImageSource
from unlearning.corruptions.everything import Everything
from unlearning.log import Log, Progress
from unlearning.metrics._likelihood import Bits, bits_per_dimension
from unlearning.params import Evaluate
from unlearning.randomness import Draws
from unlearning.types import Pair
from unlearning.verbs import _whole

SETS = ("forget", "forget_holdout", "holdout")


def measure(
    plan: Evaluate,
    models: Mapping[str, Generator],
    images: Mapping[str, ImageSource],
    device: torch.device,
    log: Log,
) -> dict[tuple[str, str], Bits]:
    """(set, role) -> bits of the first images of the set, the same probes for every model. An empty set is left out."""
    found = {}
    sets = [name for name in SETS if name in images and len(images[name])]
    for place, name in enumerate(sets):
        for number, (role, model) in enumerate(models.items(), 1):
            found[name, role] = _of_set(plan, cast(Denoising, model), name, images[name], device)
            log(Progress("likelihood", place * len(models) + number, len(sets) * len(models)))
    return found


def summary(found: Mapping[tuple[str, str], Bits]) -> dict[str, dict[str, dict[str, Any]]]:
    """set -> role -> mean bits, their standard error over probes, the paired difference to the reference; JSON."""
    said: dict[str, dict[str, dict[str, Any]]] = {}
    for (name, role), bits in found.items():
        beyond = bits.value - found[name, "reference"].value
        said.setdefault(name, {})[role] = {
            "images": len(bits.value),
            "bits": _known(float(bits.value.mean())),
            "standard_error": _known(float(bits.standard_error.square().sum().sqrt()) / len(bits.value)),
            "beyond_reference": _known(float(beyond.mean())),
        }
    return said


def _of_set(plan: Evaluate, model: Denoising, name: str, images: ImageSource, device: torch.device) -> Bits:
    count, asked = min(len(images), plan.likelihood.images), plan.likelihood
    everywhere = Draws(plan.seeds[0], count, where=("likelihood", name), device=device)
    parts = []
    for start, draws in _whole.places(count, plan.batch_size, everywhere):
        clean = images(torch.arange(start, start + draws.rows)).to(device)
        hidden = Everything()(clean, draws)
        with torch.no_grad():
            signal = model.signal(Pair(clean, hidden, torch.arange(len(clean))))
        parts.append(bits_per_dimension(model, signal, draws, asked.probes, asked.steps))
    return Bits(torch.cat([part.value for part in parts]), torch.cat([part.standard_error for part in parts]))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
