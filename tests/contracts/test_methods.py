"""Every method, because it is registered, on every generator that it can be used with."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from tests import toys
from unlearning.abilities import Sharding
from unlearning.contracts import Generator, Method, Preparation, Prepared
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.randomness import Draws
from unlearning.types import Batch, Pair, Terms
from unlearning.verbs._kinds import register

register()
RECIPES = toys.recipes()
# Members of shards that one another's images move are refused before anything is built: tests/sharding.
PAIRS = [
    (method, kind)
    for method in sorted(Method.kinds)
    for kind in RECIPES
    if kind != "sharded" or issubclass(Method.kinds[method].requires, Sharding)
]


class Setting:
    """A method, a student that has moved a little from its original, and a batch."""

    def __init__(self, method: str, kind: str) -> None:
        self.method = Method.kinds[method](**toys.QUICK.get(method, {}))
        self.original = toys.built(RECIPES[kind]).eval().requires_grad_(False)
        if not isinstance(self.original, self.method.requires):
            pytest.skip(f"{method} needs a {self.method.requires.__name__}")
        self.student = copy.deepcopy(self.original).requires_grad_(True)
        with torch.no_grad():
            for weight in self.student.parameters():
                weight.mul_(1.1)
        self.batch = toys.batch()
        self.prepared = self.prepare()

    def prepare(self) -> Prepared:
        forget, retain, draws = toys.Pictures("forget", 6), toys.Pictures("retain", 12), Draws(0, 4)
        given = Preparation(self.original, forget, retain, RandomPatches(), draws, torch.device("cpu"))
        return self.method.prepare(given)

    def terms(self, batch: Batch | None = None, seed: int = 0) -> Terms:
        draws = Draws(seed, 4)
        return self.method.terms(self.student, self.original, batch or self.batch, draws, self.prepared)


@pytest.fixture(params=PAIRS, ids="-".join)
def setting(request: pytest.FixtureRequest) -> Setting:
    return Setting(*request.param)


def test_terms_are_per_image_and_finite(setting: Setting) -> None:
    terms = setting.terms()
    assert len(terms.forget) in ((4,) if setting.method.uses_forget else (0,))
    for term in (terms.forget, terms.retain):
        assert term.shape in ((4,), (0,))
        assert term.dtype == torch.float32
        assert term.isfinite().all()
    assert terms.forget.requires_grad or terms.retain.requires_grad


def test_the_same_draws_give_the_same_terms(setting: Setting) -> None:
    first, second = setting.terms(), setting.terms()
    assert torch.equal(first.forget, second.forget)
    assert torch.equal(first.retain, second.retain)


def test_preparing_twice_gives_the_same_bits(setting: Setting) -> None:
    again = setting.prepare()
    assert again.keys() == setting.prepared.keys()
    assert all(torch.equal(again[name], setting.prepared[name]) for name in again)


def test_the_original_is_never_touched(setting: Setting) -> None:
    before = copy.deepcopy(setting.original.state_dict())
    terms = setting.terms()
    (terms.forget.sum() + terms.retain.sum()).backward()
    assert all(torch.equal(value, setting.original.state_dict()[name]) for name, value in before.items())
    assert all(weight.grad is None for weight in setting.original.parameters())


def _same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(first, second, atol=1e-6, rtol=1e-5)


def test_each_set_speaks_in_its_own_term_and_in_no_other(setting: Setting) -> None:
    """The sign error that a copied loss makes: a term fed by the other set. Seen by showing other pictures.

    A method that teaches forget images something of the retain images, or takes the retain term where forget images
    say, says so, and does; so does one that reads no retain image.
    """
    terms, shown = setting.terms(), setting.batch
    other = toys.pair("other")
    changed = setting.terms(Batch(other, shown.retain))
    assert _same(changed.retain, terms.retain) != setting.method.retain_reads_forget
    assert _same(changed.forget, terms.forget) != setting.method.uses_forget
    changed = setting.terms(Batch(shown.forget, other))
    assert _same(changed.forget, terms.forget) != setting.method.forget_reads_retain
    assert not len(terms.retain) or _same(changed.retain, terms.retain) != setting.method.reads_retain


def test_a_part_of_the_rows_has_its_part_of_the_terms(setting: Setting) -> None:
    """So that neither the number of processes nor the size of a pass changes what is computed."""
    whole = setting.terms()
    part = Batch(*(_part(pair, slice(2, 4)) for pair in (setting.batch.forget, setting.batch.retain)))
    draws = Draws(0, 2, first=2, total=4)
    mine = setting.method.terms(setting.student, setting.original, part, draws, setting.prepared)
    torch.testing.assert_close(mine.forget, whole.forget[2:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mine.retain, whole.retain[2:], atol=1e-5, rtol=1e-4)


def _part(pair: Pair, rows: slice) -> Pair:
    corrupted = replace(pair.corrupted, images=pair.corrupted.images[rows], missing=pair.corrupted.missing[rows])
    return Pair(pair.clean[rows], corrupted, pair.rows[rows])


def test_a_step_down_lowers_the_terms(setting: Setting) -> None:
    """Terms are to be minimised, whatever the sign inside."""

    def loss() -> torch.Tensor:
        terms = setting.terms()
        return torch.stack([term.mean() for term in (terms.forget, terms.retain) if len(term)]).sum()

    before = loss()
    before.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for weight in setting.student.parameters():
            if weight.grad is not None:
                weight -= 1e-4 * weight.grad
        assert loss() < before


@pytest.mark.parametrize("kind", sorted(Method.kinds))
def test_says_which_paper_it_comes_from(kind: str) -> None:
    assert "et al." in Method.kinds[kind].paper()


@pytest.mark.parametrize("kind", sorted(Method.kinds))
def test_needs_a_kind_of_generator(kind: str) -> None:
    assert issubclass(Method.kinds[kind].requires, torch.nn.Module)
    assert issubclass(Generator, Method.kinds[kind].requires) or issubclass(Method.kinds[kind].requires, Generator)
