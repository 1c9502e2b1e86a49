"""Pictures that a model draws from nothing, by its own sampler, kept below `<root>/work/drawn`.

A study asks for the original's and the reference's again at every point: they are drawn once. A file is named by all
that it depends on, and holds the sha256 of its pixels: one that is damaged is drawn again. Safe to delete.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from unlearning import digests, files
from unlearning.contracts import Corruption, Generator
from unlearning.log import Log, Progress
from unlearning.randomness import Draws
from unlearning.training import checkpoint
from unlearning.types import Images
from unlearning.verbs import _whole
from unlearning.workspace import Workspace

_PICTURES = "pictures"
_VERSION = 1  # of how draws are made of a place: part of the name of what is kept

Bytes = npt.NDArray[np.uint8]  # [N, C, H, W]


@dataclass(frozen=True, slots=True)
class Order:
    """How many pictures of [C, H, W], under which seed and what a generator is shown for nothing."""

    count: int
    seed: int
    shape: tuple[int, int, int]
    corruption: Corruption
    batch_size: int
    device: torch.device


@dataclass(frozen=True, slots=True)
class Drawn:
    """N pictures of one model, and how many of them were not finite: those are kept as black ones."""

    pixels: Bytes
    broken: int

    @property
    def images(self) -> Images:
        """[N, C, H, W] float32 in [-1, 1], in 255 steps."""
        return torch.from_numpy(self.pixels).float() / 127.5 - 1


def pictures(order: Order, folder: Path, model: Generator, workspace: Workspace, log: Log) -> Drawn:
    """What `model` draws, or drew before; the same start noise for every model.

    `folder` is the checkpoint that `model` was loaded from. Raises StorageError for a full disk.
    """
    described = checkpoint.describe(folder)
    made_of = [_VERSION, described["weights_sha256"], described["generator"], order.count, order.seed, order.shape]
    kept = workspace.work("drawn") / f"{digests.of_value([*made_of, order.corruption.model_dump(mode='json')])}"
    kept = kept.with_suffix(".safetensors")
    with files.locked(kept.with_suffix(".lock"), f"{order.count} pictures of {folder.name}", wait=True):
        found = _read(kept, order)
        if found is None:
            found = _drawn(order, model, folder.name, log)
            written = {"sha256": digests.of_bytes(found.pixels.tobytes()), "broken": str(found.broken)}
            files.write_bytes(kept, save({_PICTURES: torch.from_numpy(found.pixels)}, metadata=written))
    return found


def _read(path: Path, order: Order) -> Drawn | None:
    """None where there is no such file, or a damaged one."""
    try:
        with safe_open(path, framework="numpy") as file:
            found: Bytes = file.get_tensor(_PICTURES)
            written = file.metadata()
            broken = int(written["broken"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    whole = found.shape == (order.count, *order.shape) and found.dtype == np.uint8
    return Drawn(found, broken) if whole and digests.of_bytes(found.tobytes()) == written["sha256"] else None


@torch.inference_mode()
def _drawn(order: Order, model: Generator, name: str, log: Log) -> Drawn:
    broken, found = 0, np.empty((order.count, *order.shape), dtype=np.uint8)
    everywhere = Draws(order.seed, order.count, where=("drawn",), device=order.device)
    for start, draws in _whole.places(order.count, order.batch_size, everywhere):
        blank = torch.zeros(draws.rows, *order.shape, device=order.device)
        drawn = model.reconstruct(order.corruption(blank, draws.at("corruption")), draws.at("reconstruct"))
        broken += int((~drawn.isfinite().flatten(1).all(1)).sum())
        pixels = ((drawn.float().nan_to_num(-1.0, -1.0, -1.0).clamp(-1, 1) + 1) * 127.5).round()
        found[start : start + draws.rows] = pixels.to(torch.uint8).cpu().numpy()
        log(Progress(f"draw {name}", start + draws.rows, order.count))
    return Drawn(found, broken)
