"""What can be told from T(x): the curve against closed forms, the classifier against toys."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from unlearning.corruptions.center_hole import CenterHole
from unlearning.log import silent
from unlearning.metrics import _ceiling, _separation
from unlearning.metrics._ceiling import Sight


def test_two_normals_have_the_curve_of_the_textbook() -> None:
    """Scores N(d, 1) against N(0, 1): AUC = Phi(d / sqrt 2), TPR at FPR a = Phi(d + Phi^-1(a))."""
    d, places = 1.5, (np.arange(20_000) + 0.5) / 20_000
    negative = stats.norm.ppf(places)
    positive = negative + d
    assert _separation.auc(positive, negative) == pytest.approx(stats.norm.cdf(d / np.sqrt(2)), abs=1e-4)
    for rate in (0.01, 0.03, 0.2):
        wanted = stats.norm.cdf(d + stats.norm.ppf(rate))
        assert _separation.true_positive_rate(positive, negative, rate) == pytest.approx(wanted, abs=1e-3)


def test_ties_count_half_in_the_area_and_not_at_all_in_the_rate() -> None:
    same = np.full(100, 0.5)
    assert _separation.auc(same, same) == 0.5
    assert _separation.true_positive_rate(same, same, 0.03) == 0.0
    assert _separation.true_positive_rate(same, same, 1.0) == 1.0


def test_the_rate_of_false_positives_is_kept() -> None:
    positive, negative = np.array([0.35, 0.95, 0.99]), np.arange(100) / 100
    assert _separation.true_positive_rate(positive, negative, 0.03) == pytest.approx(1 / 3)  # above 0.96: 0.97 to 0.99
    assert _separation.true_positive_rate(positive, negative, 0.0) == 0.0


def test_what_logits_say_is_counted_by_class() -> None:
    logits = torch.tensor([[9.0, 0, 0], [0, 9, 0], [9, 0, 0], [0, 9, 0], [0, 9, 0], [0, 0, 9]])
    labels = ["a", "a", "a", "b", "b", "c"]
    found = _ceiling.recognised(logits, labels, ["a", "b", "c"], {"b"})
    assert found["top_1"] == pytest.approx(5 / 6)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert found["auc"] == pytest.approx(7 / 8)  # one retained image of four ties with both
    assert _ceiling.recognised(logits, labels, ["a", "b", "c"], set())["auc"] is None


class Toy:
    """Noise with one bright pixel row: its place is the class, inside the hole or outside it."""

    shape: ClassVar[tuple[int, int, int]] = (1, 8, 8)

    def __init__(self, inside: bool) -> None:
        self.labels = ["a" if row % 2 else "b" for row in range(256)]
        self.images = 0.1 * torch.randn(256, *self.shape, generator=torch.Generator().manual_seed(0))
        for row, label in enumerate(self.labels):
            if inside:
                self.images[row, 0, 3 if label == "a" else 4, 3:5] = 1.0
            else:
                self.images[row, 0, 0 if label == "a" else 7] = 1.0

    def __len__(self) -> int:
        return len(self.images)

    def __call__(self, rows: Tensor) -> Tensor:
        return self.images[rows]


@pytest.mark.parametrize("inside", [True, False])
def test_the_classifier_sees_what_is_visible_and_nothing_else(tmp_path: Path, inside: bool) -> None:
    toy = Toy(inside)
    sight = Sight(["a", "b"], CenterHole(side=0.5), 30, 32, 3e-3, flip=False, device=torch.device("cpu"))
    network = sight.trained(toy, toy.labels, tmp_path / "weights.safetensors", silent)
    held_out = Toy(inside)
    held_out.images = held_out.images.roll(2, 0)  # the same classes on other noise
    for row, label in enumerate(toy.labels):
        assert held_out.labels[row] == label
    found = _ceiling.recognised(sight.logits(network, held_out), held_out.labels, ["a", "b"], {"a"})
    if inside:
        assert found["auc"] < 0.85
    else:
        assert (found["auc"], found["recall"]) == (1.0, 1.0)
    again = sight.trained(toy, toy.labels, tmp_path / "weights.safetensors", silent)
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    )
