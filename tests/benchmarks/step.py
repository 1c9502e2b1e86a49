"""`make bench`: our unlearning step beside a plain re-statement of the published one, in turn, in one process.

The ratio is that of the published recipe of six epochs, with the building of every cache counted in:

    ratio = E S t_published / (E S t_ours + t_cache + K / 12,000 N t_noise),   E = 6 epochs of S steps on N images a set

and the bank of K noise pictures shared by the 12,000 images a set that the paper has.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks import cases, memory, published
from tests.benchmarks.cases import Case
from tests.benchmarks.ours import BANK, EPOCHS, SET_BATCHES, batches_of, ours


class Timed(Protocol):
    """A case: `rounds` of `steps` steps are timed, in turn."""

    @property
    def rounds(self) -> int: ...
    @property
    def steps(self) -> int: ...


RESULTS = Path(__file__).parent / "results"
PAPER_IMAGES = 12_000  # a set
# Dense bfloat16 peak, FLOP/s, of NVIDIA's data sheets.
PEAK_FLOPS = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "L4": 121e12, "A10G": 70e12}


def main() -> int:
    """Print a table and keep it as JSON."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    every = cases.EVERY[device.type]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.step")
    parser.add_argument("--case", action="append", choices=sorted(every), help="default: all of this device")
    parser.add_argument("--results", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    found = {}
    sys.stdout.write(f"{hardware(device)}, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    for name in chosen.case or every:
        found[name] = measured(name, every[name], device)
        sys.stdout.write(_line(name, found[name]) + "\n")
        sys.stdout.flush()
    result = {
        "command": " ".join(["python -m tests.benchmarks.step", *(f"--case {name}" for name in chosen.case or ())]),
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version(), "cuda": torch.version.cuda},
        "epochs": EPOCHS,
        "bank": BANK,
        "cases": found,
    }
    chosen.results.mkdir(exist_ok=True, parents=True)
    path = chosen.results / f"step-{device.type}{'-' + '-'.join(chosen.case) if chosen.case else ''}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(f"kept in {path.name}\n")
    return 0


def measured(name: str, case: Case, device: torch.device) -> dict[str, Any]:
    """Everything about one case."""
    torch.manual_seed(0)
    original = case.generator.build(case.image_size, case.channels)
    old = published.step_of(copy.deepcopy(original), batches_of(case), case.corruption, device)
    new = ours(original, case, device)
    del original
    seconds = in_turn({"published": old, "ours": new.step}, case, device)
    median = {what: statistics.median(taken) for what, taken in seconds.items()}
    steps, images = EPOCHS * SET_BATCHES, 2 * case.images
    before = new.cache_s + BANK / PAPER_IMAGES * SET_BATCHES * case.images * new.bank_s
    ratios = [steps * a / (steps * b + before) for a, b in zip(seconds["published"], seconds["ours"], strict=True)]
    flops = {"published": _flops(old), "ours": _flops(new.step)}
    peaks = {what: memory.peak_bytes(device.type, name, what) for what in ("published", "ours")}
    found = {
        "case": {**case.generator.model_dump(mode="json"), "image_size": case.image_size, "images": case.images},
        "corruption": case.corruption.model_dump(mode="json"),
        "chunk": case.chunk,
        "rounds": case.rounds,
        "images_per_s": {what: images / taken for what, taken in median.items()},
        "step_ratio": median["published"] / median["ours"],
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "cache_s": new.cache_s,
        "noise_picture_s": new.bank_s,
        "gflop_per_image": {what: value / images / 1e9 for what, value in flops.items()},
        "peak_mib": {what: value / 2**20 for what, value in peaks.items()},
        "memory_ratio": peaks["ours"] / peaks["published"],
    }
    return {**found, **(_cuda_facts(new, median["ours"], flops["ours"]) if device.type == "cuda" else {})}


def in_turn(steps: dict[str, Callable[[int], object]], case: Timed, device: torch.device) -> dict[str, list[float]]:
    """Seconds a step, round by round: what disturbs the machine disturbs both."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step(0)
    for round_ in range(case.rounds):
        for name, step in steps.items():
            _wait(device)
            began = time.perf_counter()
            for number in range(case.steps):
                step(round_ * case.steps + number)
            _wait(device)
            seconds[name].append((time.perf_counter() - began) / case.steps)
    return seconds


def _flops(step: Callable[[int], object]) -> int:
    """Floating-point operations of one step: two a multiply-add, forward and backward, as executed."""
    counter = FlopCounterMode(display=False)
    with counter:
        step(0)
    return int(counter.get_total_flops())


def _cuda_facts(new: Any, step_s: float, flops: int) -> dict[str, float | None]:
    """Model FLOP utilisation, and the share of a step that waits for pictures."""
    name = torch.cuda.get_device_name()
    peak = next((value for part, value in PEAK_FLOPS.items() if part in name), None)
    began = time.perf_counter()
    for number in range(8):
        new.batches(number)
    stall = (time.perf_counter() - began) / 8 / step_s
    return {"mfu": None if peak is None else flops / step_s / peak, "data_stall": stall}


def _line(name: str, case: dict[str, Any]) -> str:
    speed, peak = case["images_per_s"], case["peak_mib"]
    line = (
        f"  {name:<24} images/s {speed['published']:>8.2f} -> {speed['ours']:>8.2f}   six epochs, cache counted in: "
        f"{case['ratio']:.2f}x ({case['ratio_min']:.2f} to {case['ratio_max']:.2f})   peak MiB "
        f"{peak['published']:.0f} -> {peak['ours']:.0f}: {case['memory_ratio']:.2f}x"
    )
    if case.get("mfu") is not None:
        line += f"   MFU {case['mfu']:.0%}   data stall {case['data_stall']:.1%}"
    return line


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def hardware(device: torch.device) -> str:
    """The accelerator's name, or the processor's and its cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    models = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or 'CPU'}, {os.cpu_count()} cores"


if __name__ == "__main__":
    sys.exit(main())
