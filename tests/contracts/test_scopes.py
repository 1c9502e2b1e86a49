"""Every scope, because it is registered, on every generator."""

from __future__ import annotations

import copy

import pytest
import torch

from tests import toys
from unlearning.contracts import Generator, Preparation, Prepared, Scope
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.methods.noise_target import NoiseTarget
from unlearning.randomness import Draws
from unlearning.training.step import Step
from unlearning.verbs._kinds import register

register()
RECIPES = toys.recipes()


@pytest.fixture(params=sorted(Scope.kinds))
def scope(request: pytest.FixtureRequest) -> Scope:
    return Scope.kinds[request.param]()


@pytest.fixture(params=RECIPES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _prepared(scope: Scope, original: Generator) -> Prepared:
    forget, retain = toys.Pictures("forget", 6), toys.Pictures("retain", 6)
    device, draws = torch.device("cpu"), Draws(0, 6, where=("prepare",))
    return scope.prepare(Preparation(original, forget, retain, RandomPatches(), draws, device))


def test_names_parameters_of_the_student(scope: Scope, kind: str) -> None:
    student = toys.built(RECIPES[kind])
    scope.adapt(student)
    named = dict(student.named_parameters())
    chosen = scope.parameters(student)
    assert chosen
    assert all(named[name] is weight for name, weight in chosen.items())


@pytest.mark.parametrize("method", [NoiseTarget(), NaiveDeletion()], ids=lambda method: str(method.kind))
def test_everything_else_stays_bit_identical(scope: Scope, kind: str, method: NoiseTarget | NaiveDeletion) -> None:
    prepared = _prepared(scope, toys.built(RECIPES[kind]).requires_grad_(False))
    run = toys.run(
        generator=RECIPES[kind],
        scope=scope,
        method=method,
        batch_size=4,
        prepared_scope=prepared,
        budget={"weight_decay": 0.0},
    )
    step = Step(run, toys.ALONE)
    before = copy.deepcopy(run.student.state_dict())
    for number in range(3):
        step(run.batches(number), number)
    after = run.student.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert moved <= scope.parameters(run.student).keys()


def test_what_is_put_in_does_as_before_and_leaves_no_trace(scope: Scope, kind: str) -> None:
    """The student has its own names and shapes again, bit for bit if nothing was learnt."""
    student, original = (toys.built(RECIPES[kind]).eval() for _ in range(2))
    pair, draws = toys.pair("forget"), Draws(0, 4)
    scope.adapt(student.train())
    student.eval()
    with torch.no_grad():
        losses = [model.loss(pair, model.draw_view(pair.corrupted, draws)) for model in (student, original)]
    torch.testing.assert_close(*losses)
    scope.fold(student)
    assert list(student.state_dict()) == list(original.state_dict())
    assert all(torch.equal(value, student.state_dict()[name]) for name, value in original.state_dict().items())
    assert vars(student).keys() == vars(original).keys()


def test_a_mask_never_adds_to_a_gradient(scope: Scope, kind: str) -> None:
    student = toys.built(RECIPES[kind])
    prepared = _prepared(scope, copy.deepcopy(student).requires_grad_(False))
    scope.adapt(student)
    for name, weight in scope.parameters(student).items():
        gradient = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        masked = scope.mask(name, gradient, prepared)
        assert masked.shape == gradient.shape
        assert ((masked == gradient) | (masked == 0)).all()


def test_preparing_twice_gives_the_same_bits(scope: Scope, kind: str) -> None:
    first, second = (_prepared(scope, toys.built(RECIPES[kind])) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
