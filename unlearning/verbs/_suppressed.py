"""A generator behind its filters: what they recognise is not given out, and whoever asked is told so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from unlearning import digests, files
from unlearning.contracts import Generator
from unlearning.errors import EvidenceError
from unlearning.evidence import suppression
from unlearning.evidence.suppression import InForce
from unlearning.metrics._suppression import Filter
from unlearning.metrics.extractors import in_domain, inception
from unlearning.metrics.extractors.extractor import Extractor
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images
from unlearning.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Guard:
    """One batch's filter, the features that it reads, and the picture that is shown in the stead of another."""

    filter: Filter
    extractor: Extractor
    mean_picture: Images  # [1, C, H, W], of retain images


@dataclass(frozen=True, slots=True)
class Shown:
    """What a user gets."""

    images: Images
    withheld: Tensor  # [B] bool, True = the mean picture stands there


class Suppressed:
    """`generator`, behind every one of `guards`. It still knows what is withheld: this is no deletion."""

    def __init__(self, generator: Generator, guards: Sequence[Guard]) -> None:
        self.generator, self.guards = generator, tuple(guards)

    @torch.inference_mode()
    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Shown:
        """D(E(T(x))), [B, C, H, W], but the mean picture, whole, where a guard withholds; which rows are named."""
        images = self.generator.reconstruct(corrupted, draws)
        shown, withheld = images.clone(), torch.zeros(len(images), dtype=torch.bool)
        for guard in self.guards:
            mine = guard.filter.withholds(guard.extractor(images)) & ~withheld
            shown[mine.to(images.device)] = guard.mean_picture.to(images)
            withheld |= mine
        return Shown(shown, withheld)


def write(folder: Path, guard: Guard) -> None:
    """filter.safetensors, and extractor.safetensors where the extractor was trained here."""
    tensors = {
        "direction": guard.filter.direction,
        "threshold": torch.tensor([guard.filter.threshold], dtype=torch.float64),
        "mean_picture": guard.mean_picture,
    }
    files.write_bytes(folder / "filter.safetensors", save(tensors))
    weights = in_domain.as_bytes(guard.extractor)
    if weights is not None:
        files.write_bytes(folder / "extractor.safetensors", weights)


def in_force(workspace: Workspace, model: str, device: torch.device) -> list[Guard]:
    """Every filter that suppression.json names, ready to use. Raises EvidenceError: a filter that is not whole
    withholds nothing, so nothing may be served without it.
    """
    return [_read(workspace, one, device) for one in suppression.in_force(workspace, model)]


def _read(workspace: Workspace, one: InForce, device: torch.device) -> Guard:
    folder = workspace.root / one.filter
    if digests.of_listing(digests.of_folder(folder)) != one.sha256:
        raise EvidenceError(
            f"{folder}: not the filter that suppression.json names; run `unlearning suppress --batch {one.batch}` again"
        )
    own = folder / "extractor.safetensors"
    extractor = in_domain.of_file(own, device) if own.is_file() else inception.load(device)
    said = files.read_json(folder / "filter.json")["extractor"]
    if isinstance(extractor, str) or extractor.weights_sha256 != said["weights_sha256"]:
        raise EvidenceError(f"{folder}: its extractor, {said['name']}, is not on this machine; put its weights back")
    found = load_file(folder / "filter.safetensors")
    return Guard(Filter(found["direction"], float(found["threshold"])), extractor, found["mean_picture"])
