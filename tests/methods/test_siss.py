"""SISS: identities of its weights, its expectation against two passes, its limits, and exact retraining in a toy."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import toys
from tests.methods.toy_denoiser import ToyDenoiser, cloud, points, sampled
from unlearning.corruptions.everything import Everything
from unlearning.errors import ParamsError
from unlearning.merges.clipped_forget import ClippedForget
from unlearning.methods import siss
from unlearning.methods.max_loss import MaxLoss
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.methods.siss import Siss, weights
from unlearning.randomness import Draws, generator
from unlearning.recipe import Choice
from unlearning.scopes.all import All
from unlearning.training.step import Step
from unlearning.types import Batch, Pair, Terms
from unlearning.verbs._kinds import register

register()
MANY = 200_000
DRAWS = Draws(0, 4, where=(7,))


def _ddpm() -> Any:
    return toys.built(toys.recipes()["ddpm"]).eval()


def _batch() -> Batch:
    return Batch(toys.pair("forget", corruption=Everything()), toys.pair("retain", corruption=Everything()))


def _drawn(scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Points m and two means, `scale` apart."""
    drawn = generator(0, "weights")
    point, retain, forget = (torch.randn(64, 1, 4, 4, generator=drawn) for _ in range(3))
    return point, scale * retain, scale * forget


@pytest.mark.parametrize("mixture", [0.01, 0.5, 0.9])
@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 1e3])
def test_weights_are_bounded_and_their_mixture_is_one(mixture: float, scale: float) -> None:
    for_retain, for_forget = weights(*_drawn(scale), torch.full((64, 1, 1, 1), 0.7), mixture)
    torch.testing.assert_close((1 - mixture) * for_retain + mixture * for_forget, torch.ones(64))
    assert ((for_retain >= 0) & (for_retain <= 1 / (1 - mixture) + 1e-4)).all()
    assert ((for_forget >= 0) & (for_forget <= 1 / mixture + 1e-2)).all()


def test_weights_are_ratios_of_densities() -> None:
    """Against the normal densities themselves, in double precision."""
    point, retain, forget = (part.double() for part in _drawn(0.5))
    sigma, mixture = 0.8, 0.3
    density = [torch.exp(-(point - mean).square().sum((1, 2, 3)) / (2 * sigma**2)) for mean in (retain, forget)]
    whole = (1 - mixture) * density[0] + mixture * density[1]
    found = weights(*_drawn(0.5), torch.full((64, 1, 1, 1), sigma), mixture)
    for got, wanted in zip(found, density, strict=True):
        torch.testing.assert_close(got.double(), wanted / whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sigma", [1e-2, 1e-6, 1e-12])
def test_a_distance_beyond_any_exponent_is_a_coin(sigma: float) -> None:
    """No number overflows, and the gradient through the prediction stays finite."""
    _, retain, forget = _drawn(1e4)
    for point, expected in ((retain, (2.0, 0.0)), (forget, (0.0, 2.0))):
        found = weights(point, retain, forget, torch.full((64, 1, 1, 1), sigma), 0.5)
        for got, wanted in zip(found, expected, strict=True):
            assert torch.equal(got, torch.full((64,), wanted))


def test_one_pass_is_two_passes_in_expectation() -> None:
    """Both terms, by Monte Carlo, at timesteps where noised pictures overlap and where they do not."""
    student = ToyDenoiser(0.9, 0.5, 0.05)
    torch.manual_seed(0)
    torch.nn.init.normal_(student.linear.weight)
    batch = Batch(sampled(cloud(1, 0, 5, "f"), MANY, "a"), sampled(cloud(-1, 0.5, 9, "r"), MANY, "x"))
    with torch.no_grad():
        one, two = (
            Siss(mixture=0.3, passes=passes).terms(student, student, batch, Draws(passes, MANY), {})
            for passes in (1, 2)
        )
    for once, apart in ((one.forget, two.forget), (one.retain, two.retain)):
        deviation = math.sqrt(float(once.var() + apart.var()) / MANY)
        assert abs(float(once.mean() - apart.mean())) < 4 * deviation
        assert deviation < 0.05 * abs(float(apart.mean()))  # so that the line above could fail


@pytest.mark.parametrize(("window", "most"), [((0.0, 0.5), 1.2), ((0.0, 1.0), 2.0)])
def test_only_what_is_heard_is_computed_and_nothing_else_changes(
    window: tuple[float, float], most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terms and both gradients equal those of one shared pass, from fewer pictures."""
    student, batch, method = _ddpm().requires_grad_(True), _batch(), Siss(window=window)
    asked, predict = list[int](), student.predict

    def counted(noised: Tensor, timestep: Tensor) -> Any:
        asked.append(len(noised))
        return predict(noised, timestep)

    monkeypatch.setattr(student, "predict", counted)
    found = list[list[Tensor]]()
    for shared in (0.0, 2.0):  # 0: always one shared pass, 2: never
        monkeypatch.setattr(siss, "_SHARED", shared)
        terms = method.terms(student, student, batch, DRAWS, {})
        slopes = [
            torch.autograd.grad(term.mean(), list(student.parameters()), retain_graph=True, allow_unused=True)
            for term in (terms.forget, terms.retain)
        ]
        found.append([terms.forget, terms.retain, *(part for slope in slopes for part in slope if part is not None)])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    pairs, *parts = asked
    assert pairs == len(batch.forget)
    assert sum(parts) <= most * pairs
    assert (found[0][0] != 0).any()
    assert (found[0][1] != 0).any()


def test_a_mixture_without_forget_images_is_naive_deletion() -> None:
    student, batch = _ddpm(), _batch()
    terms = Siss(mixture=1e-7).terms(student, student, batch, DRAWS, {})
    view = student.draw_view(batch.forget.corrupted, DRAWS.at("view", "forget"))
    torch.testing.assert_close(terms.retain, student.loss(batch.retain, view))


def test_a_mixture_of_forget_images_alone_is_their_own_loss_turned() -> None:
    student, batch = _ddpm(), _batch()
    terms = Siss(mixture=1 - 1e-7).terms(student, student, batch, DRAWS, {})
    view = student.draw_view(batch.forget.corrupted, DRAWS.at("view", "forget"))
    torch.testing.assert_close(terms.forget, -student.loss(batch.forget, view))


def test_two_passes_are_max_loss() -> None:
    """SISS No-IS is a merge away from it, in any family."""
    student, batch = _ddpm(), _batch()
    first, second = (method.terms(student, student, batch, DRAWS, {}) for method in (Siss(passes=2), MaxLoss()))
    torch.testing.assert_close(first.forget, second.forget)
    torch.testing.assert_close(first.retain, second.retain)


@pytest.mark.parametrize("passes", [1, 2])
def test_an_absent_forget_set_leaves_naive_deletion(passes: Any) -> None:
    student, batch = _ddpm(), _batch()
    clean = batch.forget.clean[:0]
    empty = Pair(clean, batch.forget.corrupted.of(batch.forget.clean), batch.forget.rows[:0])
    first, second = (
        method.terms(student, student, Batch(empty, batch.retain), DRAWS, {})
        for method in (Siss(passes=passes), NaiveDeletion())
    )
    assert len(first.forget) == 0
    assert torch.equal(first.retain, second.retain)


@pytest.mark.parametrize("passes", [1, 2])
def test_a_window_holds_the_timesteps_of_the_forget_term(passes: Any) -> None:
    method, student = Siss(window=(0.25, 0.75), passes=passes), ToyDenoiser(*[0.5] * 40)
    forget = points(cloud(0, 0, 4_000, "f"))
    timestep, noise = method.view_within(student, forget, Draws(0, 4_000))
    assert sorted(set(timestep.tolist())) == list(range(10, 30))
    assert torch.equal(noise, student.draw_view(forget.corrupted, Draws(0, 4_000))[1])


@pytest.mark.parametrize("window", [(0.5, 0.5), (-0.1, 1.0), (0.0, 1.5)])
def test_a_window_that_is_none_is_refused(window: tuple[float, float]) -> None:
    with pytest.raises(ParamsError, match="0 <= first < last <= 1"):
        Siss.chosen(Choice.model_validate({"kind": "siss", "window": window}))


def _slope(student: ToyDenoiser, terms: Terms, forget: float, retain: float) -> Tensor:
    loss = retain * terms.retain.mean() + forget * terms.forget.mean()
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(student.parameters()))])


def test_the_retrained_model_is_where_siss_over_every_image_comes_to_rest() -> None:
    """x of all n images, a of the k to forget, weights n / (n - k) and k / (n - k): deletion by retraining, exactly.

    The original, which is the best with all images, is no such place.
    """
    forget, kept = cloud(2, 2, 30, "f"), cloud(-1, 0, 70, "r")
    every = torch.cat([forget, kept])
    batch = Batch(sampled(forget, MANY, "a"), sampled(every, MANY, "x"))
    student, slopes = ToyDenoiser(0.6), {}
    for name, images in {"original": every, "retrained": kept}.items():
        student.fit(images)
        terms = Siss().terms(student, student, batch, Draws(0, MANY), {})
        slopes[name] = _slope(student, terms, forget=30 / 70, retain=100 / 70).norm()
    assert slopes["retrained"] < 0.02
    assert slopes["original"] > 10 * slopes["retrained"]


def _merged(merge: ClippedForget) -> Tensor:
    """The gradient of one step, all of it in a row."""
    run = toys.run(
        generator=toys.recipes()["ddpm"], method=Siss(passes=2), merge=merge, scope=All(), corruption=Everything()
    )
    Step(run, toys.ALONE)._gradients(run.batches(0), 0)
    return torch.cat([weight.grad.flatten() for weight in run.student.parameters() if weight.grad is not None])


def test_the_superfactor_is_a_share_of_the_retain_gradient_or_a_norm() -> None:
    retain = _merged(ClippedForget(norm=1e-12))
    shared, fixed = _merged(ClippedForget(ratio=0.1)) - retain, _merged(ClippedForget(norm=0.25)) - retain
    assert float(shared.norm()) == pytest.approx(0.1 * float(retain.norm()), rel=1e-3)
    assert float(fixed.norm()) == pytest.approx(0.25, rel=1e-3)
    torch.testing.assert_close(shared / shared.norm(), fixed / fixed.norm(), atol=1e-4, rtol=0)
