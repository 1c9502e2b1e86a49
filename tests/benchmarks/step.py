"""`make bench`: our unlearning step beside a plain re-statement of the published one, in turn, in one process.

The published step (released MAGE code, re-stated for the MAE, which was never released): the student encodes the whole
batch, the frozen teacher encodes the whole batch twice (the images and the noise), labels choose afterwards.
Ours encodes forget and retain rows in one pass and asks the teacher only for what is used. Same model, data, machine.
"""

from __future__ import annotations

import copy
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from unlearning.corruptions.random_patches import RandomPatches
from unlearning.generators.mae import MaeRecipe
from unlearning.merges.weighted_sum import WeightedSum
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.methods.noise_target import NoiseTarget
from unlearning.params import Budget
from unlearning.randomness import Draws
from unlearning.scopes.all import All
from unlearning.scopes.encoder import Encoder
from unlearning.training.parallel import World
from unlearning.training.run import Run
from unlearning.training.step import Step
from unlearning.types import Corrupted, Drawn, Pair, Sample

RESULTS = Path(__file__).parent / "results"
ROUNDS, STEPS = 7, 6
CASES: dict[str, tuple[MaeRecipe, int, int, int]] = {  # recipe, image size, channels, images per set
    "digits 8x8, tiny": (MaeRecipe.model_validate({"size": "tiny"}), 8, 1, 64),
    "32x32, small": (MaeRecipe.model_validate({"size": "small"}), 32, 3, 16),
}
CUDA_CASES: dict[str, tuple[MaeRecipe, int, int, int]] = {
    "224x224, ViT-B": (MaeRecipe.model_validate({"size": "base"}), 224, 3, 128),
    "224x224, ViT-L": (MaeRecipe.model_validate({"size": "large"}), 224, 3, 64),
}


def main() -> int:
    """Print a table and keep it as JSON."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cases = {**CASES, **(CUDA_CASES if device.type == "cuda" else {})}
    found = {name: _measure(*case, device) for name, case in cases.items()}
    result = {"hardware": _hardware(device), "torch": torch.__version__, "rounds": ROUNDS, "cases": found}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"step-{device.type}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(f"{result['hardware']}, torch {torch.__version__}; medians of {ROUNDS} interleaved rounds\n")
    for name, case in found.items():
        speeds = "  ".join(f"{what} {case[f'{what}_images_per_s']:>8.0f}" for what in ("training", "published", "ours"))
        sys.stdout.write(f"  {name:<18} images/s: {speeds}   ours / published: {case['ratio']:.2f}\n")
    sys.stdout.write(f"kept in {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}\n")
    return 0


def _measure(recipe: MaeRecipe, size: int, channels: int, images: int, device: torch.device) -> dict[str, Any]:
    torch.manual_seed(0)
    original = recipe.build(size, channels)
    precision = "bfloat16" if device.type == "cuda" else "float32"
    steps: dict[str, Callable[[int], object]] = {
        "training": _ours(original, NaiveDeletion(), images, size, channels, device, precision),
        "published": _published(original, images, size, channels, device),
        "ours": _ours(original, NoiseTarget(noise="standard"), images, size, channels, device, precision),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step(0)
    for round_ in range(ROUNDS):
        for name, step in steps.items():
            _wait(device)
            began = time.perf_counter()
            for number in range(STEPS):
                step(round_ * STEPS + number)
            _wait(device)
            seconds[name].append((time.perf_counter() - began) / STEPS)
    counted = {"training": images, "published": 2 * images, "ours": 2 * images}
    speed = {f"{name}_images_per_s": counted[name] / statistics.median(taken) for name, taken in seconds.items()}
    pairs = [slow / fast for slow, fast in zip(seconds["published"], seconds["ours"], strict=True)]
    return {**speed, "ratio": statistics.median(pairs), "ratio_min": min(pairs), "ratio_max": max(pairs)}


def _drawn(images: int, size: int, channels: int, method_forgets: bool) -> Drawn:
    def sample(name: str, count: int) -> Sample:
        return Sample(Draws(0, count, where=(name,)).uniform(channels, size, size) * 2 - 1, torch.arange(count))

    return Drawn(forget=sample("forget", images if method_forgets else 0), retain=sample("retain", images))


def _ours(
    original: Any, method: Any, images: int, size: int, channels: int, device: torch.device, precision: Any
) -> Callable[[int], object]:
    drawn = _drawn(images, size, channels, method.uses_forget)
    budget = Budget(steps=10**6, batch_size=images, learning_rate=1e-4, precision=precision)
    scope = Encoder() if method.uses_original else All()
    frozen = copy.deepcopy(original).requires_grad_(False) if method.uses_original else None
    prepared = {"mean": torch.tensor(0.0), "deviation": torch.tensor(1.0)} if method.uses_original else {}
    student = copy.deepcopy(original)
    run = Run(
        "bench",
        student,
        frozen,
        method,
        WeightedSum(),
        scope,
        RandomPatches(patch=_patch(original)),
        lambda step: drawn,
        budget,
        {},
        prepared,
    )
    step = Step(run, World(0, 1, device))
    return lambda number: step(drawn, number)


def _published(original: Any, images: int, size: int, channels: int, device: torch.device) -> Callable[[int], object]:
    """Everything for every row, in float32; the label decides afterwards which half of the work counts."""
    drawn = _drawn(images, size, channels, True)
    student = copy.deepcopy(original).to(device).train()
    teacher = copy.deepcopy(original).to(device).eval().requires_grad_(False)
    moving = list(student.encoder_parameters().values())
    optimizer = torch.optim.AdamW(moving, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05)
    clean = torch.cat([drawn.forget.images, drawn.retain.images]).to(device)
    label = torch.cat([-torch.ones(images), torch.ones(images)]).to(device)
    corruption = RandomPatches(patch=_patch(original))

    def step(number: int) -> None:
        draws = Draws(0, len(clean), where=(number,), device=device)
        missing = corruption.missing(clean, draws)
        noise = draws.at("noise").normal(*clean.shape[1:]) * clean.std() + clean.mean()
        pairs = [Pair(x, Corrupted(x.masked_fill(missing, 0.0), missing), torch.arange(len(x))) for x in (clean, noise)]
        view = student.draw_view(pairs[0].corrupted, draws)
        latent = student.encode(pairs[0], view)[0]
        with torch.no_grad():
            guide, mis_guide = (teacher.encode(pair, view)[0] for pair in pairs)
        retain = (latent - guide).square().mean(dim=(1, 2)) * (1 + label)
        forget = (latent - mis_guide).square().mean(dim=(1, 2)) * (1 - label)
        optimizer.zero_grad(set_to_none=True)
        (retain.mean() + 0.25 * forget.mean()).backward()
        torch.nn.utils.clip_grad_norm_(moving, 3.0)
        optimizer.step()

    return step


def _patch(generator: Any) -> int:
    return int(generator.patch)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    models = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or 'CPU'}, {os.cpu_count()} cores"


if __name__ == "__main__":
    sys.exit(main())
