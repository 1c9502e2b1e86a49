"""EraseDiff's and ReTrack's targets, against direct computations; who may be a neighbour."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from tests import toys
from tests.attacks.crowd import Crowd
from tests.methods.toy_denoiser import ToyDenoiser, cloud, points, sampled
from unlearning.contracts import Method, Preparation, Prepared
from unlearning.corruptions.everything import Everything
from unlearning.errors import ParamsError
from unlearning.methods.erasediff import EraseDiffTarget
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.methods.retrack import Retrack, towards
from unlearning.randomness import Draws
from unlearning.types import Batch, Images, Pair
from unlearning.verbs._kinds import register

register()
DRAWS = Draws(0, 4, where=(7,))


def _batch() -> Batch:
    return Batch(toys.pair("forget", corruption=Everything()), toys.pair("retain", corruption=Everything()))


def _ddpm() -> Any:
    return toys.built(toys.recipes()["ddpm"]).eval()


def _prepared(method: Method, forget: Images, retain: Images) -> Prepared:
    device, original = torch.device("cpu"), ToyDenoiser(0.5)
    return method.prepare(Preparation(original, Crowd(forget), Crowd(retain), Everything(), DRAWS, device))


@pytest.mark.parametrize("method", [EraseDiffTarget(), Retrack(neighbours=2)], ids=lambda each: str(each.kind))
def test_what_is_kept_speaks_as_in_naive_deletion_whether_or_not_forget_images_came(method: Method) -> None:
    student, batch = _ddpm(), _batch()
    prepared = _prepared(method, batch.forget.clean, toys.pictures("retain", 20))
    clean = batch.forget.clean[:0]
    empty = Pair(clean, batch.forget.corrupted.of(batch.forget.clean), batch.forget.rows[:0])
    whole = method.terms(student, student, batch, DRAWS, prepared)
    alone = method.terms(student, student, Batch(empty, batch.retain), DRAWS, prepared)
    own = NaiveDeletion().terms(student, student, batch, DRAWS, {})
    torch.testing.assert_close(whole.retain, own.retain)
    torch.testing.assert_close(alone.retain, own.retain)
    assert len(alone.forget) == 0


def test_erasediff_comes_to_rest_at_the_mean_of_uniform_noise() -> None:
    """The best linear answer is 1/2 everywhere, and there the term is its variance, 1/12."""
    student, forget = ToyDenoiser(0.5), cloud(1, 1, 40, "f")
    with torch.no_grad():
        student.linear.weight.zero_()
        student.linear.bias.fill_(0.5)
    batch = Batch(sampled(forget, 100_000, "a"), sampled(forget, 100_000, "x"))
    terms = EraseDiffTarget().terms(student, student, batch, Draws(0, 100_000), {})
    slopes = torch.autograd.grad(terms.forget.mean(), list(student.parameters()))
    assert max(float(slope.abs().max()) for slope in slopes) < 0.01
    assert float(terms.forget.detach().mean()) == pytest.approx(1 / 12, abs=1e-3)


def test_the_neighbours_are_the_nearest_of_a_set_larger_than_is_read_at_once() -> None:
    forget, retain = toys.pictures("forget", 3), toys.pictures("retain", 150)
    prepared = _prepared(Retrack(neighbours=7), forget, retain)
    apart = (forget[:, None] - retain[None]).flatten(2).norm(dim=2)  # [3, 150]
    assert torch.equal(prepared["pictures"][prepared["places"]], retain[apart.argsort(dim=1)[:, :7]])


def test_a_near_duplicate_of_any_forget_image_is_nobodys_neighbour() -> None:
    forget, retain = toys.pictures("forget", 3), toys.pictures("retain", 20)
    retain[4], retain[11] = forget[2], forget[1] + 0.04
    prepared = _prepared(Retrack(neighbours=18), forget, retain)
    left = retain[[row for row in range(20) if row not in (4, 11)]]
    assert len(prepared["pictures"]) == 18
    assert torch.equal(prepared["pictures"], left)
    assert len(_prepared(Retrack(neighbours=19, duplicate=0.03), forget, retain)["pictures"]) == 19


def test_more_neighbours_than_there_are_is_refused() -> None:
    forget, retain = toys.pictures("forget", 3), toys.pictures("retain", 9)
    retain[0] = forget[0]
    with pytest.raises(ParamsError, match="leads to 9 neighbours, and of 9 retain images 8 are no near duplicate"):
        _prepared(Retrack(neighbours=9), forget, retain)


def test_retrack_is_the_published_sum_less_a_spread_without_a_gradient() -> None:
    """sum_r p_r |e - v_r|^2, neighbour by neighbour, in double precision."""
    student, forget, retain = ToyDenoiser(0.8, 0.4), cloud(0.5, 0, 4, "f"), cloud(0, 0.5, 30, "r", spread=1.0)
    method = Retrack(neighbours=5)
    prepared = _prepared(method, forget, retain)
    batch = Batch(points(forget), sampled(retain, 4, "x"))
    terms = method.terms(student, student, batch, DRAWS, prepared)
    exact = copy.deepcopy(student).double()
    timestep, noise = student.draw_view(batch.forget.corrupted, DRAWS.at("view", "forget"))
    sums = []
    for row in range(4):
        kept = exact.abar[timestep[row]]
        noised = kept.sqrt() * forget[row].double() + (1 - kept).sqrt() * noise[row].double()
        found = exact.predict(noised[None], timestep[row : row + 1])[0]
        neighbours = prepared["pictures"][prepared["places"][row]].double()
        answers = [(noised - kept.sqrt() * one) / (1 - kept).sqrt() for one in neighbours]
        share = torch.softmax(torch.stack([-answer.square().sum() / 2 for answer in answers]), dim=0)
        sums.append(sum(p * (found - answer).square().mean() for p, answer in zip(share, answers, strict=True)))
    direct = torch.stack(sums)
    assert (direct.float() >= terms.forget).all()
    got = torch.autograd.grad(terms.forget.sum(), list(student.parameters()))
    wanted = torch.autograd.grad(direct.sum(), list(exact.parameters()))
    for here, there in zip(got, wanted, strict=True):
        torch.testing.assert_close(here.double(), there, atol=1e-4, rtol=1e-4)


def test_one_neighbour_is_the_noise_that_would_have_made_it() -> None:
    forget, retain = toys.pair("forget", corruption=Everything()), toys.pictures("retain", 4)
    prepared = {"pictures": retain, "places": torch.arange(4)[:, None]}
    gamma, sigma = torch.full((4, 1, 1, 1), 0.8), torch.full((4, 1, 1, 1), 0.6)
    noise = DRAWS.normal(1, 8, 8)
    led = towards(forget.clean, forget.rows, prepared, gamma, sigma, noise)
    torch.testing.assert_close(gamma * retain + sigma * led, gamma * forget.clean + sigma * noise)


def test_hardly_any_noise_overflows_nothing() -> None:
    forget, retain = toys.pair("forget", corruption=Everything()), toys.pictures("retain", 8)
    prepared = {"pictures": retain, "places": torch.arange(8).view(4, 2)}
    gamma, sigma = torch.ones(4, 1, 1, 1), torch.full((4, 1, 1, 1), 1e-6)
    assert towards(forget.clean, forget.rows, prepared, gamma, sigma, DRAWS.normal(1, 8, 8)).isfinite().all()
