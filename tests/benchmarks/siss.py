"""`python -m tests.benchmarks.siss`: a step of data unlearning beside a plain training step, in turn, in one process.

The plain step is naive deletion: the retain images' own loss and one backward pass. Published for one-pass SISS is one
forward and two backward passes; ours asks the network for each term only where that term is heard.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.memory import ENVIRONMENT, resident
from tests.benchmarks.step import RESULTS, hardware, in_turn
from unlearning.contracts import Merge, Method
from unlearning.corruptions.everything import Everything
from unlearning.data.batches import Batches
from unlearning.generators.ddpm import DdpmRecipe
from unlearning.merges.clipped_forget import ClippedForget
from unlearning.merges.weighted_sum import WeightedSum
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.methods.retrack import Retrack
from unlearning.methods.siss import Siss
from unlearning.params import Budget
from unlearning.scopes.all import All
from unlearning.training.parallel import World
from unlearning.training.run import Run
from unlearning.training.step import Step
from unlearning.types import Images


@dataclass(frozen=True, slots=True)
class Case:
    """A network, and how many images a set and step."""

    generator: DdpmRecipe
    image_size: int
    images: int
    rounds: int
    steps: int


# The second is the layout of google/ddpm-cifar10-32, 35.7 million weights.
CASES = {
    "cpu": Case(DdpmRecipe(widths=(32, 64, 64)), 32, 16, 7, 3),
    "cuda": Case(DdpmRecipe(widths=(128, 256, 256, 256), layers=2, attention_levels=1), 32, 128, 7, 10),
}
PLAIN = "naive_deletion"
VARIANTS: dict[str, tuple[Method, Merge]] = {
    PLAIN: (NaiveDeletion(), WeightedSum()),
    "siss": (Siss(), ClippedForget()),
    "siss_window": (Siss(window=(0.25, 0.75)), ClippedForget()),
    "siss_two_passes": (Siss(passes=2), ClippedForget()),
    "retrack": (Retrack(), WeightedSum(forget_weight=0.02)),
}


class Smooth:
    """Pictures in which neighbouring pixels are alike, as in photographs: the distance of two decides what is heard."""

    def __init__(self, case: Case, seed: int) -> None:
        coarse = torch.randn(4 * case.images, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        size = [case.image_size, case.image_size]
        self._kept = torch.nn.functional.interpolate(coarse, size, mode="bicubic").mul(0.5).clamp(-1, 1)

    def __len__(self) -> int:
        return len(self._kept)

    def __call__(self, rows: torch.Tensor) -> Images:
        return self._kept[rows]


def main() -> int:
    """Print a table and keep it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.siss")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--peak", choices=sorted(VARIANTS), help="print the peak memory of one variant, in bytes")
    chosen = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    case = CASES[device.type]
    if chosen.peak:
        sys.stdout.write(str(_peak(chosen.peak, case, device)))
        return 0
    seconds = in_turn({name: _step(name, case, device) for name in VARIANTS}, case, device)
    peaks = {name: _peak_bytes(name) for name in VARIANTS}
    found = {name: _measured(seconds[name], seconds[PLAIN], peaks[name] / peaks[PLAIN]) for name in VARIANTS}
    sys.stdout.write(f"{hardware(device)}, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    for name, one in found.items():
        sys.stdout.write(
            f"  {name:<16} {one['ms']:>8.1f} ms   time {one['time']:.2f}x ({one['time_min']:.2f} to "
            f"{one['time_max']:.2f})   memory {one['memory']:.2f}x\n"
        )
    result = {
        "command": "python -m tests.benchmarks.siss",
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "case": {**case.generator.model_dump(mode="json"), "image_size": case.image_size, "images": case.images},
        "rounds": case.rounds,
        "steps": found,
    }
    chosen.results.mkdir(exist_ok=True, parents=True)
    path = chosen.results / f"siss-{device.type}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(f"kept in {path.name}\n")
    return 0


def _measured(seconds: list[float], plain: list[float], memory: float) -> dict[str, Any]:
    """Ratios of one round each, so that what disturbs the machine disturbs both."""
    ratios = [one / other for one, other in zip(seconds, plain, strict=True)]
    return {
        "ms": 1e3 * statistics.median(seconds),
        "time": statistics.median(ratios),
        "time_min": min(ratios),
        "time_max": max(ratios),
        "memory": memory,
    }


def _step(name: str, case: Case, device: torch.device) -> Callable[[int], object]:
    method, merge = VARIANTS[name]
    torch.manual_seed(0)
    student = case.generator.build(case.image_size, 3)
    forget, retain = Smooth(case, 1), Smooth(case, 2)
    budget = Budget(
        steps=10**6,
        batch_size=case.images,
        learning_rate=1e-5,
        precision="bfloat16" if device.type == "cuda" else "float32",
    )
    seen = forget if method.uses_forget else None
    neighbours = torch.arange(len(forget))[:, None].expand(-1, 10) + torch.arange(10)
    prepared = {"pictures": retain(torch.arange(len(retain))), "places": neighbours % len(retain)}
    run = Run(
        stage="bench",
        student=student,
        original=None,
        method=method,
        merge=merge,
        scope=All(),
        corruption=Everything(),
        batches=Batches(seen, retain, case.images, seed=0),
        budget=budget,
        recipe={},
        prepared_method=prepared if name == "retrack" else {},
    )
    step = Step(run, World(0, 1, device))
    return lambda number: step(run.batches(number), number)


def _peak_bytes(name: str) -> int:
    """In a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.siss", "--peak", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **ENVIRONMENT})
    return int(done.stdout)


def _peak(name: str, case: Case, device: torch.device) -> int:
    case.generator.build(case.image_size, 3)  # what a first build imports is no part of a step
    gc.collect()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts from here
    step = _step(name, case, device)
    for number in range(3):
        step(number)
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else resident("VmHWM") - before


if __name__ == "__main__":
    sys.exit(main())
