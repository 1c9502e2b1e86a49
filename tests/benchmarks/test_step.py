"""The benchmark itself: it must time the work it says, on a case of a second."""

from __future__ import annotations

import copy

import pytest
import torch

from tests import toys
from tests.benchmarks import memory, published, step
from tests.benchmarks.cases import Case
from tests.benchmarks.ours import batches_of, ours
from unlearning.generators.mae import MaeRecipe
from unlearning.generators.mage import MageRecipe

CPU = torch.device("cpu")
CASES = {
    "mae": Case(MaeRecipe(**toys.SMALL_MAE), toys.SIDE, 1, 2, None, 1, 1),
    "mage": Case(MageRecipe.model_validate(toys.SMALLEST["mage"]), toys.SIDE, 1, 2, 1, 1, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_a_result_says_speed_memory_and_the_ratio(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "peak_bytes", lambda device, case, variant: {"published": 400, "ours": 100}[variant])
    found = step.measured(name, CASES[name], CPU)
    assert found["memory_ratio"] == 0.25
    assert 0 < found["ratio"] < found["step_ratio"] * 1.01
    assert found["gflop_per_image"]["ours"] < found["gflop_per_image"]["published"]


@pytest.mark.parametrize("name", CASES)
def test_the_published_step_asks_for_everything_and_ours_for_the_student_only(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Student and teacher, twice: 3 x 4 images a step. Ours, after its cache: 4."""
    case, encoded = CASES[name], list[int]()
    original = toys.built(case.generator)
    encode = type(original).encode

    def counting(self, pair, view):  # type: ignore[no-untyped-def]
        encoded.append(len(pair))
        return encode(self, pair, view)

    monkeypatch.setattr(type(original), "encode", counting)
    published.step_of(copy.deepcopy(original), batches_of(case), case.corruption, CPU)(0)
    assert sum(encoded) == 12
    new = ours(original, case, CPU)
    encoded.clear()
    new.step(0)
    assert sum(encoded) == 4
