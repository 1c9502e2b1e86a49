"""Selective Amnesia: its formula, what it replays, and where it comes to rest in a toy."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import toys
from tests.methods.toy_denoiser import ToyDenoiser, cloud, points, sampled
from unlearning.contracts import ImageSource, Preparation, Prepared
from unlearning.corruptions.everything import Everything
from unlearning.errors import ParamsError
from unlearning.methods._anchor import pull
from unlearning.methods.selective_amnesia import SelectiveAmnesia
from unlearning.randomness import Draws
from unlearning.types import Batch, Corrupted, Images, Pair, Rows, Terms

MANY = 100_000
FORGET = cloud(2, 2, 30, "f")


class _Source:
    """The images given."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __call__(self, rows: Rows) -> Images:
        return self._images[rows]


class _Gone:
    """A retain set that nobody may look at."""

    def __len__(self) -> int:
        raise AssertionError("the retain set was asked for")

    def __call__(self, rows: Rows) -> Images:
        raise AssertionError("a retain image was read")


class _Painter(ToyDenoiser):
    """Draws from a bank of pictures, whatever it is shown."""

    def __init__(self, bank: Images) -> None:
        super().__init__(0.6)
        self.bank = bank

    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        return self.bank[draws.integers(len(self.bank))]


def _prepared(method: SelectiveAmnesia, original: Any, forget: Images = FORGET) -> Prepared:
    gone: ImageSource = _Gone()
    given = Preparation(original, _Source(forget), gone, Everything(), Draws(0, 4), torch.device("cpu"))
    return method.prepare(given)


def _terms(method: SelectiveAmnesia, student: Any, original: Any, prepared: Prepared, forget: Pair) -> Terms:
    nobody = replace(forget, clean=forget.clean[:0], rows=forget.rows[:0])
    return method.terms(student, original, Batch(forget, nobody), Draws(0, len(forget), where=(7,)), prepared)


def test_it_is_the_formula() -> None:
    kept, draws = cloud(-1, 0, 9, "r"), Draws(0, 4, where=(7,))
    original = _Painter(kept)
    student, method = copy.deepcopy(original), SelectiveAmnesia(strength=3.0, drawn=20)
    with torch.no_grad():
        student.linear.bias += 0.1
    prepared = _prepared(method, original)
    terms = _terms(method, student, original, prepared, points(FORGET[:4]))
    noise = points(draws.at("noise").uniform(1, 1, 2) * 2 - 1)
    view = student.draw_view(noise.corrupted, draws.at("view", "forget"))
    torch.testing.assert_close(terms.forget, student.loss(noise, view))
    replay = points(prepared["replay"][draws.at("replay").integers(len(prepared["replay"]))])
    view = student.draw_view(replay.corrupted, draws.at("view", "replay"))
    held = 3.0 * pull(student, original, prepared)
    assert held > 0
    torch.testing.assert_close(terms.retain, student.loss(replay, view) + held)
    precisions = [prepared[f"precision/{name}"] for name, _ in original.named_parameters()]
    torch.testing.assert_close(torch.cat([part.flatten() for part in precisions]).mean(), torch.tensor(1.0))


def test_near_copies_of_forget_images_and_of_their_mirrors_are_not_replayed() -> None:
    forget = torch.tensor([[2.0, -2.0]]).view(1, 1, 1, 2)
    copies = [forget + 0.05, forget.flip(-1) - 0.05]
    others = cloud(0, 0, 6, "r", spread=0.1)
    original, method = _Painter(torch.cat([*copies, others])), SelectiveAmnesia(drawn=100, duplicate=0.1)
    replay = _prepared(method, original, forget)["replay"]
    assert 50 < len(replay) < 100
    assert torch.cdist(replay.flatten(1), others.flatten(1)).amin(dim=1).max() < 1e-3


def test_an_original_that_draws_nothing_but_copies_is_refused() -> None:
    with pytest.raises(
        ParamsError, match=r"each of the 10 pictures that the original drew is nearer than duplicate 0\.3"
    ):
        _prepared(SelectiveAmnesia(drawn=10), _Painter(FORGET[:2] + 0.01))


def _loss(student: ToyDenoiser, images: Images) -> float:
    pair = sampled(images, MANY, "measured")
    with torch.no_grad():
        return float(student.loss(pair, student.draw_view(pair.corrupted, Draws(3, MANY))).mean())


def _slope(method: SelectiveAmnesia, student: ToyDenoiser, original: ToyDenoiser, prepared: Prepared) -> Tensor:
    terms = _terms(method, student, original, prepared, sampled(FORGET, MANY, "a"))
    loss = terms.forget.mean() + terms.retain.mean()
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(student.parameters()))])


def test_it_rests_at_the_best_of_noise_and_replay_and_there_forgetting_is_worse_and_keeping_better() -> None:
    """Without the anchor; with it, somewhere on the way."""
    kept = cloud(-1, 0, 70, "r")
    original = _Painter(kept)
    original.fit(torch.cat([FORGET, kept]))
    prepared = _prepared(SelectiveAmnesia(drawn=2_000), original)
    noise = torch.rand(20_000, 1, 1, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rested = copy.deepcopy(original)
    rested.fit(torch.cat([noise, prepared["replay"].repeat(10, 1, 1, 1)]))
    free, held = SelectiveAmnesia(strength=0.0), SelectiveAmnesia(strength=10.0)
    assert _slope(free, rested, original, prepared).norm() < 0.03
    assert _slope(free, original, original, prepared).norm() > 0.3
    assert _slope(held, rested, original, prepared).norm() > 0.3
    assert _loss(rested, FORGET) > 1.2 * _loss(original, FORGET)
    assert _loss(rested, kept) < _loss(original, kept)


def test_a_real_denoiser_draws_its_replay_from_nothing_and_prepares_the_same_bits() -> None:
    original = toys.built(toys.recipes()["ddpm"]).eval().requires_grad_(False)
    pictures, method = toys.Pictures("forget", 3), SelectiveAmnesia(drawn=70, fisher_pictures=2, duplicate=0.01)
    first, second = (_prepared(method, original, images) for images in (pictures.images, -pictures.images))
    assert first["replay"].shape == (70, 1, toys.SIDE, toys.SIDE)
    assert torch.equal(first["replay"], second["replay"])  # what is forgotten has no say in what is drawn
    assert len(torch.unique(first["replay"], dim=0)) == 70
