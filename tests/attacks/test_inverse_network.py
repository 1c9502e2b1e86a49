"""The way back from what a target draws to what it was made from."""

from __future__ import annotations

import copy

import pytest
import torch

from tests import toys
from tests.attacks import line
from unlearning.attack import Curve, Ready
from unlearning.attacks.inverse_network import InverseNetwork
from unlearning.contracts import Generator
from unlearning.types import Images

FORGET = toys.Pictures("forget", 20)


def values(target: Generator, known: Generator) -> list[float]:
    attack = InverseNetwork(steps=(0, 120), pictures=120, batch_size=32, width=16, depth=1, learning_rate=5e-3)
    forgetting = line.ClosedForget(FORGET, known)
    scene = line.scene(known, forgetting, forget=Unreadable("forget", 20), retain=toys.Pictures("retain", 60))
    found = attack.run(target, scene, Ready())
    assert isinstance(found, Curve)
    return [point.value for point in found.forgetting]


class Unreadable(toys.Pictures):
    def __call__(self, rows: torch.Tensor) -> Images:
        raise AssertionError("the attacker has no image of this set")


def test_a_negative_is_turned_back() -> None:
    """A picture -x has the error 4 x^2: forgetting 4, and all of it is still there."""
    known = line.original()
    negative = copy.deepcopy(known)
    with torch.no_grad():
        negative.get_parameter("out.weight").neg_()
    before, after = values(negative, known)
    assert before == pytest.approx(4, abs=0.01)
    assert after < 0.1


def test_nothing_comes_back_from_a_target_that_draws_the_same_for_every_image() -> None:
    """What is visible would say it all here: the network does not see it."""
    known = line.original()
    before, after = values(line.blinded(known), known)
    assert before == pytest.approx(1)
    assert after == pytest.approx(1, abs=0.1)
