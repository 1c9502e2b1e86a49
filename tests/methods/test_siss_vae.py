"""SISS on latents: its weights, values and gradients against closed forms of a linear toy, its limits, ten steps."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from tests import toys
from unlearning.abilities import Posterior, Variational
from unlearning.corruptions.everything import Everything
from unlearning.data.batches import Batches
from unlearning.merges.clipped_forget import ClippedForget
from unlearning.methods.max_loss import MaxLoss
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.methods.siss_vae import SissVae, weights
from unlearning.randomness import Draws, generator
from unlearning.scopes.all import All
from unlearning.training.step import Step
from unlearning.types import Batch, Corrupted, Images, Latents, Pair, PerImage, View
from unlearning.verbs._kinds import register

register()
MANY = 200_000
DRAWS = Draws(0, 4, where=(7,))


class ToyVae(Variational):
    """Two pixels, one latent: q = N(A x + b, exp(v)), p(x | z) = N(W z + c, sigma^2). Its ELBO is a closed form."""

    sigma, beta = 0.5, 2.0

    def __init__(self, log_variance: float) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(2, 1), nn.Linear(1, 2)
        self.log_variance = nn.Parameter(torch.tensor(log_variance))
        with torch.no_grad():
            self.into.weight.copy_(torch.tensor([[0.8, -0.4]]))
            self.out.weight.copy_(torch.tensor([[1.2], [0.5]]))
            self.into.bias.fill_(0.3)
            self.out.bias.copy_(torch.tensor([0.1, -0.2]))

    def posterior(self, pair: Pair) -> Posterior:
        mean = self.into(pair.clean.flatten(1)).view(-1, 1, 1, 1)
        return Posterior(mean, self.log_variance.expand_as(mean))

    def bound(self, pair: Pair, posterior: Posterior, latent: Tensor) -> PerImage:
        square = (pair.clean.flatten(1) - self.out(latent.flatten(1))).square().sum(1)
        return square / (2 * self.sigma**2) + self.beta * posterior.divergence()

    def expected(self, image: Tensor) -> Tensor:
        """E_q of the bound of one image [2], []: the square's mean is that at the mean of z, and |W|^2 exp(v)."""
        mean, spread = self.into(image), self.log_variance.exp()
        square = (image - self.out(mean)).square().sum() + self.out.weight.square().sum() * spread
        divergence = 0.5 * (mean.square().sum() + spread - 1 - self.log_variance)
        found: Tensor = square / (2 * self.sigma**2) + self.beta * divergence
        return found

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        return (draws.at("noise").normal(1, 1, 1),)

    def encode(self, pair: Pair, view: View) -> Latents:
        return (self.posterior(pair).mean,)

    def loss(self, pair: Pair, view: View) -> PerImage:
        found = self.posterior(pair)
        return self.bound(pair, found, found.at(view[0]))

    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        return corrupted.images

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        return {"into.weight": self.into.weight}


FORGET, RETAIN = torch.tensor([1.0, 0.5]), torch.tensor([-0.5, 1.0])


def _repeated(image: Tensor, count: int) -> Pair:
    clean = image.view(1, 1, 1, 2).expand(count, -1, -1, -1)
    return Pair(clean, Everything()(clean, Draws(0, count)), torch.arange(count))


def _posteriors(scale: float) -> tuple[Tensor, Posterior, Posterior]:
    """A latent and two posteriors, `scale` apart, of 2 x 3 x 3 latents."""
    drawn = generator(0, "weights")
    z, x, a, spread_x, spread_a = (torch.randn(64, 2, 3, 3, generator=drawn) for _ in range(5))
    return z, Posterior(scale * x, 0.3 * spread_x), Posterior(scale * a, 0.3 * spread_a)


@pytest.mark.parametrize("mixture", [0.01, 0.5, 0.9])
@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 1e3])
def test_weights_are_bounded_and_their_mixture_is_one(mixture: float, scale: float) -> None:
    for_retain, for_forget = weights(*_posteriors(scale), mixture)
    torch.testing.assert_close((1 - mixture) * for_retain + mixture * for_forget, torch.ones(64))
    assert ((for_retain >= 0) & (for_retain <= 1 / (1 - mixture) + 1e-4)).all()
    assert ((for_forget >= 0) & (for_forget <= 1 / mixture + 1e-2)).all()


def test_weights_are_ratios_of_densities() -> None:
    latent, *found = _posteriors(0.3)
    density = [
        Independent(Normal(each.mean.double(), (0.5 * each.log_variance.double()).exp()), 3).log_prob(latent).exp()
        for each in found
    ]
    whole = 0.7 * density[0] + 0.3 * density[1]
    got = weights(latent, found[0], found[1], 0.3)
    for ours, theirs in zip(got, density, strict=True):
        torch.testing.assert_close(ours.double(), theirs / whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("log_variance", [0.0, -30.0, 20.0])
def test_a_distance_beyond_any_exponent_is_a_coin(log_variance: float) -> None:
    """At the least and the greatest variance a posterior may have, no number overflows."""
    far, near = torch.full((4, 2, 1, 1), 1e7), torch.zeros(4, 2, 1, 1)
    posteriors = [Posterior(mean, torch.full_like(mean, log_variance)) for mean in (near, far)]
    for latent, expected in ((near, (2.0, 0.0)), (far, (0.0, 2.0))):
        for got, wanted in zip(weights(latent, posteriors[0], posteriors[1], 0.5), expected, strict=True):
            assert torch.equal(got, torch.full((4,), wanted))


@pytest.mark.parametrize("mixture", [0.2, 0.5])
@pytest.mark.parametrize("log_variance", [-3.0, 0.0], ids=["apart", "overlapping"])
def test_terms_and_their_gradients_are_the_two_elbos_in_expectation(mixture: float, log_variance: float) -> None:
    """Against the closed form, whose gradient a draw that carried gradients of both terms would miss."""
    student = ToyVae(log_variance)
    batch = Batch(_repeated(FORGET, MANY), _repeated(RETAIN, MANY))
    terms = SissVae(mixture=mixture).terms(student, student, batch, Draws(3, MANY), {})
    for term, wanted in ((terms.forget, -student.expected(FORGET)), (terms.retain, student.expected(RETAIN))):
        deviation = float(term.detach().std()) / math.sqrt(MANY)
        assert abs(float((term.mean() - wanted).detach())) < 4 * deviation
        slopes = [
            torch.cat([p.flatten() for p in torch.autograd.grad(value, list(student.parameters()), retain_graph=True)])
            for value in (term.mean(), wanted)
        ]
        torch.testing.assert_close(*slopes, atol=0.1, rtol=0)


def _vae() -> Any:
    return toys.built(toys.recipes()["vae"]).eval()


def _batch() -> Batch:
    return Batch(toys.pair("forget", corruption=Everything()), toys.pair("retain", corruption=Everything()))


def _view(student: Any, batch: Batch) -> View:
    view: View = student.draw_view(batch.forget.corrupted, DRAWS.at("view", "forget"))
    return view


def test_a_mixture_without_forget_images_is_naive_deletion() -> None:
    student, batch = _vae(), _batch()
    terms = SissVae(mixture=1e-7).terms(student, student, batch, DRAWS, {})
    torch.testing.assert_close(terms.retain, student.loss(batch.retain, _view(student, batch)))


def test_a_mixture_of_forget_images_alone_is_their_own_loss_turned() -> None:
    student, batch = _vae(), _batch()
    terms = SissVae(mixture=1 - 1e-7).terms(student, student, batch, DRAWS, {})
    torch.testing.assert_close(terms.forget, -student.loss(batch.forget, _view(student, batch)))
    two_passes = MaxLoss().terms(student, student, batch, DRAWS, {})
    torch.testing.assert_close(terms.forget, two_passes.forget)


def test_an_absent_forget_set_leaves_naive_deletion() -> None:
    student, batch = _vae(), _batch()
    clean = batch.forget.clean[:0]
    empty = Pair(clean, batch.forget.corrupted.of(clean), batch.forget.rows[:0])
    first, second = (
        method.terms(student, student, Batch(empty, batch.retain), DRAWS, {}) for method in (SissVae(), NaiveDeletion())
    )
    assert len(first.forget) == 0
    assert torch.equal(first.retain, second.retain)


def test_what_is_not_heard_is_not_asked_of_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Posteriors that say where they are: each latent is of one picture alone."""
    student, batch, asked = _vae(), _batch(), list[int]()
    posterior, decode = student.posterior, student.decode

    def sure(pair: Pair) -> Posterior:
        return Posterior(100 * posterior(pair).mean, torch.full_like(posterior(pair).mean, -10.0))

    def counted(latent: Tensor, seen: Latents) -> Images:
        asked.append(len(latent))
        drawn: Images = decode(latent, seen)
        return drawn

    monkeypatch.setattr(student, "posterior", sure)
    monkeypatch.setattr(student, "decode", counted)
    terms = SissVae().terms(student, student, batch, DRAWS, {})
    heard = torch.stack([terms.forget, terms.retain]) != 0
    assert sum(asked) == len(batch.forget) == int(heard.sum())
    assert torch.equal(heard[0], ~heard[1])


def test_the_forget_term_may_leave_the_encoder_alone() -> None:
    student, batch, slopes = _vae().requires_grad_(True), _batch(), list[dict[str, Tensor | None]]()
    names, moving = zip(*student.named_parameters(), strict=True)
    for encoder_forgets in (True, False):
        term = SissVae(encoder_forgets=encoder_forgets).terms(student, student, batch, DRAWS, {}).forget
        found = torch.autograd.grad(term.mean(), moving, allow_unused=True)
        slopes.append(dict(zip(names, found, strict=True)))
    both, decoder_only = slopes
    for name in names:
        if name.startswith("encoder."):
            assert both[name] is not None
            assert decoder_only[name] is None
        else:
            torch.testing.assert_close(both[name], decoder_only[name])


def _set(name: str, count: int) -> Any:
    return toys.Pictures(name, count)


def _known(student: Any, pictures: Any) -> float:
    clean = pictures.images
    pair = Pair(clean, Everything()(clean, Draws(0, len(clean))), torch.arange(len(clean)))
    return float(student.surprise(pair, Draws(9, len(clean))).mean())


def test_ten_steps_lose_the_forget_images_and_keep_the_others() -> None:
    """Of a model trained on both, in nats a pixel: of 0.2 to 0.3 that there are. Naive deletion hardly loses any."""
    forget, retain, every = _set("forget", 4), _set("retain", 32), _set("retain", 32)
    every.images = torch.cat([forget.images, retain.images])
    common: dict[str, Any] = {
        "generator": toys.recipes()["vae"],
        "scope": All(),
        "corruption": Everything(),
        "batch_size": 8,
    }
    budget = {"weight_decay": 0.0, "warmup_steps": 0}
    original = toys.run(
        **common,
        method=NaiveDeletion(),
        batches=Batches(None, every, 8, 0),
        steps=150,
        budget={**budget, "learning_rate": 1e-2},
    )
    _taken(original)
    before = _known(original.student, forget), _known(original.student, retain)
    after = {}
    for method in (SissVae(), NaiveDeletion()):
        run = toys.run(
            **common,
            method=method,
            merge=ClippedForget(ratio=0.5),
            batches=Batches(forget if method.uses_forget else None, retain, 8, 0),
            steps=10,
            budget={**budget, "learning_rate": 3e-3},
        )
        run.student.load_state_dict(copy.deepcopy(original.student.state_dict()))
        _taken(run)
        after[method.kind] = _known(run.student, forget) - before[0], _known(run.student, retain) - before[1]
    assert after["siss_vae"][0] > 0.15
    assert abs(after["siss_vae"][1]) < 0.12
    assert after["naive_deletion"][0] < 0.06


def _taken(run: Any) -> None:
    step = Step(run, toys.ALONE)
    for number in range(run.budget.steps):
        step(run.batches(number), number)
    run.student.eval()
