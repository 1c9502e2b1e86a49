"""Every scope, because it is registered, on every generator."""

from __future__ import annotations

import copy

import pytest
import torch

from tests import toys
from unlearning.contracts import Scope
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.methods.noise_target import NoiseTarget
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


def test_names_parameters_of_the_student(scope: Scope, kind: str) -> None:
    student = toys.built(RECIPES[kind])
    named = dict(student.named_parameters())
    chosen = scope.parameters(student)
    assert chosen
    assert all(named[name] is weight for name, weight in chosen.items())


@pytest.mark.parametrize("method", [NoiseTarget(), NaiveDeletion()], ids=lambda method: str(method.kind))
def test_everything_else_stays_bit_identical(scope: Scope, kind: str, method: NoiseTarget | NaiveDeletion) -> None:
    run = toys.run(generator=RECIPES[kind], scope=scope, method=method, batch_size=4)
    step = Step(run, toys.ALONE)
    before = copy.deepcopy(run.student.state_dict())
    for number in range(3):
        step(run.batches(number), number)
    after = run.student.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert moved <= scope.parameters(run.student).keys()


def test_a_mask_never_adds_to_a_gradient(scope: Scope) -> None:
    gradient = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    masked = scope.mask("into.weight", gradient, {})
    assert masked.shape == gradient.shape
    assert ((masked == gradient) | (masked == 0)).all()
