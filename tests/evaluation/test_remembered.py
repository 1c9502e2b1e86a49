"""What was measured is not measured again, and is bit for bit what measuring it again would give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.evaluation.test_measure import SIZE, Counting, Halves, N, Zeros
from unlearning.contracts import Generator, Metric
from unlearning.corruptions.center_hole import CenterHole
from unlearning.log import silent
from unlearning.metrics.extractors.extractor import Extractor
from unlearning.metrics.kid import Kid
from unlearning.metrics.mse import Mse
from unlearning.metrics.psnr import Psnr
from unlearning.metrics.similarity import Similarity
from unlearning.verbs._measure import Measured, Subjects, measure
from unlearning.verbs._remembered import Memory

SETS, BATCHES = ("forget", "retain", "holdout"), 2 * 3  # draws x batches of a set


class Evaluation:
    """Three sets by one model, with what it remembers below `folder`."""

    def __init__(self, folder: Path, models: object = "a", mean: float = 0.5) -> None:
        self.folder, self.models, self.mean, self.network = folder, models, mean, Halves()

    def run(self, model: Generator, metrics: list[Metric], remembers: bool = True) -> dict[str, Measured]:
        extractor = Extractor("halves", "ab", self.network, torch.device("cpu"))
        subjects = Subjects(
            {"original": model}, torch.full((1, 1, SIZE, SIZE), self.mean), CenterHole(), metrics,
            {"auto": extractor}, torch.device("cpu"),
        )  # fmt: skip
        table = pa.table({"key": [f"k{i}" for i in range(N)], "class": ["a", "b"] * (N // 2)})
        found = {}
        for name in SETS:
            memory = Memory(
                self.folder / "measured", self.folder / "features", {"set": name}, {"models": [self.models, self.mean]}
            )
            found[name] = measure(
                name, table, Zeros(), subjects, (0, 1), 4, 6, silent, N, memory if remembers else None
            )
        return found


def same(one: dict[str, Measured], other: dict[str, Measured]) -> bool:
    """Bit for bit, in the same order."""
    for name in SETS:
        a, b = one[name], other[name]
        tables = [(a.per_image[role], b.per_image[role]) for role in a.per_image]
        tables += [(a.pictures, b.pictures), (a.looks, b.looks)]
        for x, y in tables:
            if any(not np.array_equal(x[key], y[key]) for key in x) or list(x) != list(y):
                return False
        if (a.per_set, a.finite) != (b.per_set, b.finite):
            return False
    return True


def test_a_crash_after_the_second_set_resumes_at_the_third_bit_for_bit(tmp_path: Path) -> None:
    metrics: list[Metric] = [Mse(), Similarity(), Kid()]
    fresh = Evaluation(tmp_path / "fresh").run(Counting(0.1), metrics, remembers=False)
    evaluation = Evaluation(tmp_path)
    with pytest.raises(RuntimeError, match="went down"):
        evaluation.run(Counting(0.1, fails_at=2 * BATCHES + 2), metrics)
    again = Counting(0.1)
    assert same(evaluation.run(again, metrics), fresh)
    assert again.calls == BATCHES
    idle = Counting(0.1)
    assert same(evaluation.run(idle, metrics), fresh)
    assert idle.calls == 0


def test_one_more_metric_computes_only_that_one_and_another_model_everything(tmp_path: Path) -> None:
    evaluation = Evaluation(tmp_path)
    evaluation.run(Counting(0.1), [Mse(), Kid()])
    evaluation.network.seen = 0
    more: list[Metric] = [Mse(), Psnr(), Kid()]
    found = evaluation.run(Counting(0.1), more)
    assert evaluation.network.seen == 0  # no feature was asked for again
    assert same(found, Evaluation(tmp_path).run(Counting(0.1), more, remembers=False))
    evaluation.models = "b"
    other = Counting(0.3)
    found = evaluation.run(other, more)
    assert other.calls == 3 * BATCHES
    # The model was looked at, and the mean picture once a batch; the truth was not, its features are those of before.
    assert evaluation.network.seen == 3 * 2 * (N + 3)
    assert same(found, Evaluation(tmp_path).run(Counting(0.3), more, remembers=False))


def test_a_damaged_file_is_measured_again(tmp_path: Path) -> None:
    evaluation = Evaluation(tmp_path)
    whole = evaluation.run(Counting(0.1), [Mse()])
    for path in (tmp_path / "measured").iterdir():
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
    again = Counting(0.1)
    assert same(evaluation.run(again, [Mse()]), whole)
    assert again.calls == 3 * BATCHES
