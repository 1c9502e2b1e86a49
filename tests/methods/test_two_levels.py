"""EraseDiff's two levels in a toy whose inner minimum is a least-squares problem."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from tests.methods.toy_denoiser import ToyDenoiser, cloud, points
from unlearning.contracts import Voice
from unlearning.merges._products import inner
from unlearning.merges.dynamic_barrier import DynamicBarrier
from unlearning.merges.erasediff import EraseDiff
from unlearning.methods.erasediff import EraseDiffTarget
from unlearning.randomness import Draws
from unlearning.types import Batch, Terms

COUNT = 12
DRAWS = Draws(0, COUNT, where=(7,))
BATCH = Batch(points(cloud(1, 0, COUNT, "f")), points(cloud(-1, 0.5, COUNT, "r")))
DEEP = EraseDiffTarget(inner_steps=400, inner_rate=0.5)


def _student() -> ToyDenoiser:
    torch.manual_seed(0)
    return ToyDenoiser(0.9, 0.4)


def _terms(method: EraseDiffTarget, student: ToyDenoiser) -> Terms:
    return method.terms(student, student, BATCH, DRAWS, {})


def _best() -> tuple[Tensor, Tensor]:
    """A and b, [3, 2] in a row, that answer these very noised pictures with these very targets best; f there, [F]."""
    timestep, noise = DEEP.view_within(_student(), BATCH.forget, DRAWS.at("view", "forget"))
    kept = _student().abar[timestep].view(-1, 1, 1, 1)
    read = (kept.sqrt() * BATCH.forget.clean + (1 - kept).sqrt() * noise).flatten(1)
    read = torch.cat([read, torch.ones(COUNT, 1)], dim=1)
    wanted = DRAWS.at("target").uniform(1, 1, 2).flatten(1)
    best = torch.linalg.lstsq(read, wanted).solution
    return best, (read @ best - wanted).square().mean(dim=1)


def _voices(student: ToyDenoiser, terms: Terms) -> list[Voice]:
    weights = list(student.parameters())
    losses = [term.mean() for term in (terms.forget, terms.retain)]
    return [Voice(loss.detach(), torch.autograd.grad(loss, weights, retain_graph=True)) for loss in losses]


def test_the_forget_term_is_what_is_left_to_the_inner_minimum() -> None:
    student = _student()
    whole, left = _terms(EraseDiffTarget(), student), _terms(DEEP, student)
    torch.testing.assert_close(left.forget, whole.forget - _best()[1], atol=1e-4, rtol=1e-3)
    assert torch.equal(left.retain, whole.retain)
    few = _terms(EraseDiffTarget(inner_steps=2, inner_rate=0.1), student)
    assert 0 < few.forget.mean() < left.forget.mean()


def test_one_inner_step_is_a_gradient_step() -> None:
    student, rate = _student(), 0.3
    loss = _terms(EraseDiffTarget(), student).forget
    slopes = torch.autograd.grad(loss.mean(), list(student.parameters()))
    moved = copy.deepcopy(student)
    with torch.no_grad():
        for weight, slope in zip(moved.parameters(), slopes, strict=True):
            weight -= rate * slope
    there = _terms(EraseDiffTarget(), moved).forget
    found = _terms(EraseDiffTarget(inner_steps=1, inner_rate=rate), student).forget
    torch.testing.assert_close(found, loss - there)


def test_the_inner_steps_leave_the_student_and_no_memory() -> None:
    student = _student()
    before = copy.deepcopy(student.state_dict())
    first, second = _terms(DEEP, student), _terms(DEEP, student)
    assert torch.equal(first.forget, second.forget)
    assert all(torch.equal(value, student.state_dict()[name]) for name, value in before.items())
    assert all(weight.grad is None for weight in student.parameters())


def test_a_merge_of_gradients_alone_does_not_hear_them_and_the_barrier_does() -> None:
    """Why the released code's inner loop changes nothing but a number in its log."""
    student = _student()
    plain, deep = (_voices(student, _terms(method, student)) for method in (EraseDiffTarget(), DEEP))
    merged = [EraseDiff().gradient(*voices) for voices in (plain, deep)]
    assert all(torch.equal(a, b) for a, b in zip(*merged, strict=True))
    with torch.no_grad():
        best = _best()[0]
        student.linear.weight.copy_(best[:2].T)
        student.linear.bias.copy_(best[2])
        student.linear.bias += 0.05  # nearly there
    plain, deep = (_voices(student, _terms(method, student)) for method in (EraseDiffTarget(), DEEP))
    assert float(deep[0].loss) == pytest.approx(0.05**2, rel=0.05)
    falls = [inner(DynamicBarrier(epsilon=0.0).gradient(*voices), voices[0].gradient) for voices in (plain, deep)]
    level = max(float(deep[0].loss), float(inner(deep[1].gradient, deep[0].gradient)))
    assert float(falls[1]) == pytest.approx(level, rel=1e-3)
    assert falls[0] > 1.5 * falls[1]


def test_forgetting_ends_where_nothing_is_left_to_gain() -> None:
    """The barrier at the inner minimum asks for nothing; without inner steps it would go on for ever."""
    student = _student()
    with torch.no_grad():
        best = _best()[0]
        student.linear.weight.copy_(best[:2].T)
        student.linear.bias.copy_(best[2])
    forget, retain = _voices(student, _terms(DEEP, student))
    assert abs(float(forget.loss)) < 1e-6
    assert float(_voices(student, _terms(EraseDiffTarget(), student))[0].loss) > 0.01
    merged = DynamicBarrier(epsilon=0.0).gradient(forget, retain)
    for part, own in zip(merged, retain.gradient, strict=True):
        torch.testing.assert_close(part, own, atol=1e-3, rtol=1e-3)
