"""What never changes for an image in a run: the generator's constants (MAGE's codes), the original's encodings.

Under a hole that stays where it is both are functions of the image alone. They are computed once, by rank 0, in the
order of the rows and in chunks of one size, so that their bits do not depend on where a run was cut; from then on they
travel with the images. Nothing is remembered of an image that the run does not come back to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from unlearning import digests
from unlearning.contracts import Generator
from unlearning.log import Log, Progress
from unlearning.randomness import Draws
from unlearning.training import cache
from unlearning.training.cache import Cache
from unlearning.training.gradients import autocast
from unlearning.training.holes import Holes
from unlearning.training.parallel import World
from unlearning.training.run import Run
from unlearning.types import Drawn, Known, Sample, SetName

SETS: tuple[SetName, ...] = ("forget", "retain")

# At once: one image of 128 x 128, or 16 of 256 x 256 if there is a device to fill. Memory and last bits depend on it
_CHUNK_PIXELS = {"cpu": 2**14, "cuda": 2**20}
_MOST_IMAGES = 64


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where it may be kept, and how much; `identity` says what it is a function of beside the run: weights, images."""

    folder: Path
    identity: dict[str, Any]
    most_bytes: int


class Walk(Protocol):
    """Batches of which one can know beforehand what they will hold."""

    def __call__(self, step: int) -> Drawn:
        """The images of one step."""
        ...

    def placed(self, step: int) -> Drawn:
        """The rows of one step, and no image."""
        ...

    def visits(self, name: SetName, steps: int) -> tuple[Tensor, int]:
        """What all ranks see of a set in `steps` steps: each (row, mirrored) once, [K, 2] int64 in order; how often."""
        ...

    def some(self, name: SetName, rows: Tensor, mirrored: Tensor) -> Sample:
        """Any images of a set."""
        ...


def remember(run: Run, batches: Walk, shelf: Shelf, world: World, log: Log) -> Run:
    """The run with all that is known of its images coming along, and without an original nobody asks any more.

    Raises StorageError for a full disk.
    """
    room, caches = shelf.most_bytes, dict[SetName, Cache]()
    for name in SETS:
        asked = _Asked(run, batches, name, world)
        found = asked.cache(replace(shelf, most_bytes=room), world, log)
        if found is not None:
            caches[name] = found
            room -= found.bytes
    targets_known = "retain" in caches and "target-0" in caches["retain"].arrays
    asks = run.original is not None and run.method.asks_original(run.prepared_method, targets_known)
    known = KnownBatches(batches, caches) if caches else run.batches
    return replace(run, batches=known, original=run.original if asks else None)


@dataclass(frozen=True, slots=True)
class KnownBatches:
    """Batches whose images bring what is known of them."""

    batches: Walk
    caches: dict[SetName, Cache] = field(default_factory=dict)

    def __call__(self, step: int) -> Drawn:
        """The images of one step. Raises DataError if one is not what its hash says."""
        drawn = self.batches(step)
        return Drawn(self._known("forget", drawn.forget), self._known("retain", drawn.retain))

    def placed(self, step: int) -> Drawn:
        """The rows of one step, and no image."""
        return self.batches.placed(step)

    def _known(self, name: SetName, sample: Sample) -> Sample:
        if name not in self.caches or not len(sample.rows):
            return sample
        found = self.caches[name](_keys(sample.rows, sample.mirrored))
        levels = sum(part.startswith("target-") for part in found)
        target = tuple(found[f"target-{level}"] for level in range(levels)) or None
        return replace(sample, known=Known(found.get("constant"), target))


class _Asked:
    """What is asked about one set, and who knows."""

    def __init__(self, run: Run, batches: Walk, name: SetName, world: World) -> None:
        self._run, self._batches, self._name, self._device = run, batches, name, world.device
        self._holes = Holes(run.corruption, run.holes_by_row)
        self._teller: Generator = run.student if run.original is None else run.original
        self._autocast = autocast(world, run.budget.precision)
        self._wanted = self._knowable()

    def cache(self, shelf: Shelf, world: World, log: Log) -> Cache | None:
        """From disk, or made now; None where nothing stays the same, nothing comes again, or it takes too much room."""

        def say(note: str) -> None:
            if world.leads:
                log(Progress(self._run.stage, 0, 0, note=f"cache of the {self._name} images: {note}"))

        visits, count = self._batches.visits(self._name, self._run.budget.steps)
        keys = visits[:, 0] * 2 + visits[:, 1]
        if not count or not self._could:
            return None
        if not self._wanted:
            say("none, their holes or views are drawn anew at each step")
            return None
        if count < 2 * len(keys):
            say(f"none, {len(keys)} images come {count / len(keys):.1f} times")
            return None
        folder, identity = shelf.folder / self._name, self._identity(shelf, keys)
        found = cache.opened(folder, identity)
        world.wait()
        if found is None and world.leads:
            wanted = self._fitting(keys, shelf.most_bytes, say)
            if wanted:
                began = time.monotonic()
                cache.write(folder, identity, keys, self._parts(keys, wanted))
                say(f"{' and '.join(sorted(wanted))}, {len(keys)} computed once in {time.monotonic() - began:.1f} s")
        world.wait()
        found = found or cache.opened(folder, identity)
        if found is not None:
            say(f"{found.bytes / 2**20:.1f} MiB on disk")
        return found

    @property
    def _could(self) -> bool:
        """Whether this family, or this method, has anything to remember of this set at all."""
        targets = self._name == "retain" and self._run.method.uses_targets
        return targets or self._teller.constants_are_of != "nothing"

    def _knowable(self) -> frozenset[str]:
        teller, still = self._teller, self._holes.constant
        constant = teller.constants_are_of == "clean" or (teller.constants_are_of == "corrupted" and still)
        target = self._name == "retain" and self._run.method.uses_targets and still and teller.view_is_fixed
        return frozenset({"constant"} if constant else ()) | frozenset({"target"} if target else ())

    def _fitting(self, keys: Tensor, most_bytes: int, say: Callable[[str], None]) -> frozenset[str]:
        """What there is room for: all of it, the constants alone, or nothing."""
        one = next(self._parts(keys[:1], self._wanted))
        sizes = {name: part.nbytes * len(keys) for name, part in one.items()}
        if sum(sizes.values()) <= most_bytes:
            return self._wanted
        say(
            f"{sum(sizes.values()) / 2**30:.2f} GiB do not fit into the {most_bytes / 2**30:.2f} GiB left of "
            f"unlearn.cache_gib; what does not fit is computed at each step"
        )
        constant = sizes.get("constant")
        return frozenset({"constant"}) if constant is not None and constant <= most_bytes else frozenset()

    def _identity(self, shelf: Shelf, keys: Tensor) -> dict[str, Any]:
        run = self._run
        return {
            **shelf.identity,
            "set": self._name,
            "keys_sha256": digests.of_bytes(keys.numpy().tobytes()),
            "corruption": run.corruption.model_dump(mode="json"),
            "holes_of_seed": run.budget.seed if run.holes_by_row and not run.corruption.fixed else None,
            "precision": run.budget.precision,
            "wanted": sorted(self._wanted),
        }

    @torch.no_grad()
    def _parts(self, keys: Tensor, wanted: frozenset[str]) -> Iterator[dict[str, Tensor]]:
        """Rows of `keys` [K], a chunk at a time, on the CPU."""
        pixels = self._some(keys[:1]).images.shape[-2:].numel()
        size = max(1, min(_MOST_IMAGES, _CHUNK_PIXELS.get(self._device.type, 2**14) // pixels))
        for some in keys.split(size):  # type: ignore[no-untyped-call]
            draws = Draws(self._run.budget.seed, len(some), where=("known",), device=self._device)
            yield self._told(self._some(some), draws, wanted)

    def _some(self, keys: Tensor) -> Sample:
        return self._batches.some(self._name, keys // 2, (keys % 2).bool())

    def _told(self, sample: Sample, draws: Draws, wanted: frozenset[str]) -> dict[str, Tensor]:
        pair, teller = self._holes.pair(self._name, sample, draws), self._teller.to(self._device)
        found: dict[str, Tensor] = {}
        with self._autocast:
            if "constant" in wanted:
                found["constant"] = teller.constants(pair)
                pair = replace(pair, known=Known(found["constant"]))
            if "target" in wanted:
                levels = teller.encode(pair, teller.draw_view(pair.corrupted, draws))
                found |= {f"target-{level}": part.float() for level, part in enumerate(levels)}
        return {name: part.detach().cpu().contiguous() for name, part in found.items()}


def _keys(rows: Tensor, mirrored: Tensor | None) -> Tensor:
    """[B] int64: a number for each image and another for its mirror."""
    return rows * 2 if mirrored is None else rows * 2 + mirrored
