"""The noise target's noises against what they are said to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toys
from unlearning.abilities import Diffusing
from unlearning.contracts import Method, Preparation
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.errors import ParamsError
from unlearning.methods.noise_target import NoiseTarget
from unlearning.params import Params
from unlearning.randomness import Draws
from unlearning.recipe import Choice
from unlearning.types import Batch, Corrupted, Images, Pair
from unlearning.verbs import _kinds

_kinds.register()
DRAWS = Draws(0, 4, where=(7,))
NORMAL, UNIFORM = DRAWS.at("noise").normal(1, 8, 8), DRAWS.at("noise").uniform(1, 8, 8)
FORGET = toys.Pictures("forget", 20)


def _original(kind: str = "toy") -> Any:
    return toys.built(toys.recipes()[kind]).eval().requires_grad_(False)


def _terms(method: NoiseTarget, original: Any, batch: Batch) -> Any:
    given = Preparation(original, FORGET, FORGET, RandomPatches(), DRAWS, torch.device("cpu"))
    return method.terms(original, original, batch, DRAWS, method.prepare(given))


def _expected(kind: str, batch: Batch) -> Images:
    seen = torch.cat([batch.forget.clean, batch.retain.clean])
    return {
        "forget_statistics": (FORGET.images.mean() + FORGET.images.std() * NORMAL).clamp(-1, 1),
        "standard": NORMAL,
        "batch_statistics": (seen.mean() + seen.std() * NORMAL).clamp(-1, 1),
        "uniform": UNIFORM * 2 - 1,
        "constant": FORGET.images.mean().expand(4, 1, 8, 8),
    }[kind]


@pytest.mark.parametrize("kind", ["forget_statistics", "standard", "batch_statistics", "uniform", "constant"])
def test_forget_images_are_sent_where_the_noise_under_their_holes_is(kind: Any) -> None:
    """On a linear encoder: E(x) = W T(x), so that the term is the mean square of W (T(x_f) - T(n))."""
    original, batch = _original(), toys.batch()
    away = (batch.forget.clean - _expected(kind, batch)).masked_fill(batch.forget.corrupted.missing, 0.0)
    expected = original.into(away.flatten(1)).square().mean(dim=1)
    torch.testing.assert_close(_terms(NoiseTarget(noise=kind), original, batch).forget, expected)


@pytest.mark.parametrize(("kind", "bank"), [("standard", 0), ("uniform", 0), ("uniform", 3), ("constant", 1)])
def test_an_absent_forget_set_leaves_the_retain_term(kind: Any, bank: int) -> None:
    original, batch = _original(), toys.batch()
    clean = batch.forget.clean[:0]
    empty = Pair(clean, Corrupted(clean, clean[:, :1].bool()), batch.forget.rows[:0])
    terms = _terms(NoiseTarget(noise=kind, bank=bank), original, Batch(empty, batch.retain))
    assert len(terms.forget) == 0
    assert not terms.retain.any()


@pytest.mark.parametrize("kind", ["batch_statistics", "hole"])
def test_a_bank_of_what_changes_with_the_batch_is_refused(kind: str) -> None:
    with pytest.raises(ParamsError, match=f"bank must be 0 for noise {kind!r}"):
        Method.chosen(Choice(kind="noise_target", noise=kind, bank=8))


@pytest.mark.parametrize("kind", ["palette", "palette_guided"])
def test_the_released_diffusion_form_is_the_original_with_a_drowned_hole(kind: str) -> None:
    original, batch = _original(kind), toys.batch()
    assert isinstance(original, Diffusing)
    view = original.draw_view(batch.forget.corrupted, DRAWS.at("view", "forget"))
    maps = zip(original.encode(batch.forget, view), original.encode_drowned(batch.forget, view), strict=True)
    expected = torch.stack([(a - b).square().flatten(1).mean(dim=1) for a, b in maps]).sum(dim=0)
    terms = _terms(NoiseTarget(noise="hole"), original, batch)
    torch.testing.assert_close(terms.forget, expected, atol=1e-6, rtol=1e-4)
    assert not terms.retain.any()


def test_the_released_diffusion_form_leaks_the_context_and_ours_does_not() -> None:
    """Where the target comes from: of two forget images, the released target tells the visible parts apart."""
    original, first, second = _original("palette"), toys.pair("forget"), toys.pair("forget")
    second = Pair(-second.clean, Corrupted(-second.corrupted.images, second.corrupted.missing), second.rows)
    view = original.draw_view(first.corrupted, DRAWS)
    drowned = [original.encode_drowned(pair, view)[-1] for pair in (first, second)]
    assert not torch.allclose(*drowned, atol=1e-3)
    noise = [Pair(NORMAL, pair.corrupted.of(NORMAL), pair.rows) for pair in (first, second)]
    assert torch.equal(*(original.encode(pair, view)[-1] for pair in noise))


@pytest.mark.parametrize("kind", ["mae", "mage", "toy"])
def test_who_sees_nothing_of_the_hole_refuses_to_drown_it(kind: str) -> None:
    with pytest.raises(ParamsError, match="sees nothing of it; forget_statistics is right there"):
        _terms(NoiseTarget(noise="hole"), _original(kind), toys.batch())


def test_drowning_is_refused_before_the_original_is_trained(repository: Path) -> None:
    chosen = {"unlearn.method": {"kind": "noise_target", "noise": "hole"}}
    with pytest.raises(ParamsError, match=r"needs a generator that is Diffusing, and 'mae' is not; .* palette.* is"):
        _kinds.check(Params.read(repository / "params.yaml", chosen))
    _kinds.check(Params.read(repository / "params.yaml", {**chosen, "generator": {"kind": "palette"}}))
