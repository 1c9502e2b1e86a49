"""`python -m tests.benchmarks.evaluation`: the Frechet distance of three models, ours beside the naive way.

Naive: every model draws, every picture is written as a PNG file, and pytorch-fid's own command line compares the folder
with the folder of true pictures, once a model. Ours: verbs/_measure.py, from the models to the three values; no picture
is written. Both draw the same pictures, with visible pixels grey, and see them through one file of Inception weights
(random ones, under the published name: how fast a network is does not depend on what it learnt). Of the published
features, `--dims` 2048, a covariance wants more images than that; a smaller run takes the features of an earlier block.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tests import toy_inception
from tests.benchmarks.step import RESULTS, hardware
from unlearning import digests
from unlearning.contracts import Generator
from unlearning.corruptions.center_hole import CenterHole
from unlearning.generators.mae import MaeRecipe
from unlearning.log import silent
from unlearning.metrics._missing import only_missing
from unlearning.metrics.extractors import inception, weights
from unlearning.metrics.frechet import Frechet
from unlearning.metrics.mse import Mse
from unlearning.randomness import Draws, generator
from unlearning.types import Images
from unlearning.verbs._measure import Subjects, _reconstruct, measure
from unlearning.verbs._remembered import Memory

ROLES = ("original", "unlearned", "reference")
SIDE, BATCH, NAME = 32, 256, "holdout"
Values = dict[str, float]


@dataclass(frozen=True)
class Pictures:
    """N pictures of soft colours with some grain, 8 bits a channel: an ImageSource."""

    levels: Tensor  # [N, 3, 32, 32] uint8

    @classmethod
    def drawn(cls, count: int) -> Pictures:
        soft = F.interpolate(torch.randn(count, 3, 4, 4, generator=generator(0, "soft")), (SIDE, SIDE), mode="bicubic")
        grain = torch.randn(count, 3, SIDE, SIDE, generator=generator(0, "grain"))
        return cls(((soft * 0.5 + grain * 0.05 + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))

    def __len__(self) -> int:
        return len(self.levels)

    def __call__(self, rows: Tensor) -> Images:
        return self.levels[rows].float().div_(127.5).sub_(1.0)


def main() -> int:
    """Print both times and keep them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.evaluation")
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--dims", type=int, default=2048, choices=(64, 192, 768, 2048), help="features of Inception")
    parser.add_argument("--results", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sys.stdout.write(f"{hardware(device)}, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    result = {
        "command": f"python -m tests.benchmarks.evaluation --images {chosen.images} --dims {chosen.dims}",
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version(), "cuda": torch.version.cuda},
        **measured(chosen.images, chosen.dims, device),
    }
    sys.stdout.write(
        f"{chosen.images} images, three models: naive {result['naive_s']:.1f} s, ours {result['ours_s']:.1f} s, "
        f"{result['ratio']:.2f} times as fast; values differ by {result['relative_difference']:.1e} at most\n"
    )
    chosen.results.mkdir(exist_ok=True, parents=True)
    path = chosen.results / f"evaluation-{device.type}-{chosen.images}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(f"kept in {path.name}\n")
    return 0


def measured(images: int, dims: int, device: torch.device) -> dict[str, Any]:
    """Seconds of both ways, and what each came to. The models and the weights file are there before either starts."""
    with tempfile.TemporaryDirectory() as home:
        file = toy_inception.write(Path(home) / "hub" / "checkpoints" / inception.FILE)
        source, models = Pictures.drawn(images), {role: _model(role, device) for role in ROLES}
        mean = source.levels.double().mean(0, keepdim=True).div(127.5).sub(1).float()
        subjects = Subjects(models, mean, CenterHole(), [Mse(), Frechet()], {}, device)
        started = time.perf_counter()
        theirs, drawing_s = naive(source, subjects, Path(home), dims)
        naive_s = time.perf_counter() - started
        started = time.perf_counter()
        mine = ours(source, subjects, Path(home), file, dims)
        ours_s = time.perf_counter() - started
    difference = max(abs(mine[role] - theirs[role]) / theirs[role] for role in ROLES)
    return {
        "images": images,
        "dims": dims,
        "naive_s": naive_s,
        "naive_drawing_and_writing_s": drawing_s,
        "ours_s": ours_s,
        "ratio": naive_s / ours_s,
        "naive": theirs,
        "ours": mine,
        "relative_difference": difference,
    }


def ours(source: Pictures, subjects: Subjects, home: Path, file: Path, dims: int) -> Values:
    """From the models to the values, with a memory to keep and nothing in it: a first evaluation."""
    found = weights.Found(file, digests.of_file(file))
    seen = replace(subjects, extractors={"auto": inception.of(found, subjects.device, dims)})
    memory = Memory(home / "measured", home / "features", {"images": len(source)}, {})
    table = pa.table({"key": [str(row) for row in range(len(source))]})
    came = measure(NAME, table, source, seen, (0,), BATCH, 0, silent, 0, memory)
    return {role: came.per_set[role]["frechet"][0] for role in ROLES}


def naive(source: Pictures, subjects: Subjects, home: Path, dims: int) -> tuple[Values, float]:
    """Folders of PNG files, and pytorch-fid's command line on each pair; the seconds until all are written."""
    started = time.perf_counter()
    for role, model in subjects.models.items():
        _write(source, replace(subjects, models={role: model}), home)
    drawing_s = time.perf_counter() - started
    return {role: _pytorch_fid(home / "truth", home / role, home, dims, subjects.device) for role in ROLES}, drawing_s


def _write(source: Pictures, subjects: Subjects, home: Path) -> None:
    (role,) = subjects.models
    for start in range(0, len(source), BATCH):
        rows = torch.arange(start, min(start + BATCH, len(source)))
        draws = Draws(0, len(rows), first=start, total=len(source), where=("evaluate", NAME))
        truth = source(rows)
        generated, missing, _ = _reconstruct(truth, subjects, draws)
        for name, pictures in (("truth", truth), (role, generated[role])):
            if name == "truth" and role != ROLES[0]:  # the true pictures are written once
                continue
            (home / name).mkdir(exist_ok=True)
            levels = ((only_missing(pictures, missing) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            for row, picture in zip(rows.tolist(), levels.permute(0, 2, 3, 1).numpy(), strict=True):
                Image.fromarray(picture).save(home / name / f"{row:06d}.png")


def _pytorch_fid(truth: Path, drawn: Path, home: Path, dims: int, device: torch.device) -> float:
    command = [sys.executable, "-W", "ignore", "-m", "pytorch_fid", str(truth), str(drawn)]
    command += ["--dims", str(dims), "--device", device.type]
    done = subprocess.run(
        command, env={**os.environ, "TORCH_HOME": str(home)}, capture_output=True, text=True, check=True
    )
    found = re.search(r"FID:\s+(\S+)", done.stdout)
    if found is None:
        raise RuntimeError(f"pytorch-fid printed no value but {done.stdout[-200:]!r}")
    return float(found[1])


def _model(role: str, device: torch.device) -> Generator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(ROLES.index(role))
        return MaeRecipe(size="tiny").build(SIDE, 3).eval().to(device)


if __name__ == "__main__":
    sys.exit(main())
