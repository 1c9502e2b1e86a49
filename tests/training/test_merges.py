"""Merges that look at both gradients: inequalities they promise, and where they come to rest."""

from __future__ import annotations

import math

import pytest
import torch

from unlearning.contracts import Merge, Voice
from unlearning.merges.dynamic_barrier import DynamicBarrier
from unlearning.merges.erasediff import EraseDiff
from unlearning.merges.projected import Projected

KEPT, GONE = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])  # where either loss is 0; 5 apart


def _voice(*numbers: float, loss: float = 1.0) -> Voice:
    whole = torch.tensor(numbers)
    return Voice(torch.tensor(loss), [whole[:1], whole[1:]])


def _merged(merge: Merge, forget: Voice, retain: Voice) -> torch.Tensor:
    return torch.cat(merge.gradient(forget, retain))


def test_projection_takes_away_what_is_against_and_nothing_else() -> None:
    torch.testing.assert_close(_merged(Projected(), _voice(-2.0, 3.0), _voice(4.0, 0.0)), torch.tensor([4.0, 3.0]))
    torch.testing.assert_close(
        _merged(Projected(forget_weight=0.5), _voice(2.0, 3.0), _voice(4.0, 0.0)), torch.tensor([5.0, 1.5])
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_projected_step_never_raises_the_retain_loss(seed: int) -> None:
    forget, retain = torch.randn(2, 6, generator=torch.Generator().manual_seed(seed)).unbind()
    merged = _merged(Projected(forget_weight=7.0), _voice(*forget.tolist()), _voice(*retain.tolist()))
    assert merged @ retain >= retain @ retain * (1 - 1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("eta", [0.0, 0.1, 2.0])
def test_erasediff_makes_the_forget_loss_fall_at_its_rate(seed: int, eta: float) -> None:
    """And is the retain gradient itself where that does it already."""
    forget, retain = torch.randn(2, 6, generator=torch.Generator().manual_seed(seed)).unbind()
    merged = _merged(EraseDiff(eta=eta), _voice(*forget.tolist()), _voice(*retain.tolist()))
    wanted = eta * forget @ forget
    torch.testing.assert_close(merged @ forget, torch.maximum(retain @ forget, wanted), atol=1e-5, rtol=1e-4)
    if retain @ forget >= wanted:
        torch.testing.assert_close(merged, retain)


def test_the_barrier_is_met_and_no_more_than_that() -> None:
    forget, retain = _voice(0.0, 2.0, loss=1.5), _voice(1.0, -3.0)
    merged = _merged(DynamicBarrier(epsilon=0.5, beta=0.1), forget, retain)
    torch.testing.assert_close(merged, torch.tensor([1.0, 0.05]))  # <d, g_f> = 0.1 min(1.0, 4.0)


def test_below_epsilon_the_retain_gradient_is_free_until_it_is_too_fast() -> None:
    merge = DynamicBarrier(epsilon=2.0, beta=1.0)
    slow, fast = _voice(1.0, -0.25), _voice(1.0, -3.0)
    forget = _voice(0.0, 2.0, loss=1.0)
    torch.testing.assert_close(_merged(merge, forget, slow), torch.tensor([1.0, -0.25]))
    torch.testing.assert_close(_merged(merge, forget, fast), torch.tensor([1.0, -0.5]))  # <d, g_f> = -1


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("start", [(3.0, 0.0), (0.0, 4.0), (-5.0, 2.0)])
def test_the_barrier_rests_at_the_constrained_optimum(epsilon: float, start: tuple[float, float]) -> None:
    """L_r = |x - a|^2 / 2, L_f = |x - b|^2 / 2: the best x with L_f <= epsilon is sqrt(2 epsilon) from b towards a."""
    merge, place = DynamicBarrier(epsilon=epsilon), torch.tensor(start)
    for _ in range(3_000):
        away = place - GONE
        forget = _voice(*away.tolist(), loss=float(away @ away) / 2)
        place = place - 0.02 * _merged(merge, forget, _voice(*(place - KEPT).tolist()))
    best = GONE + math.sqrt(2 * epsilon) * (KEPT - GONE) / 5
    torch.testing.assert_close(place, best, atol=2e-2, rtol=0)


def test_a_constraint_that_does_not_bind_leaves_the_retain_optimum() -> None:
    merge, place = DynamicBarrier(epsilon=20.0), torch.tensor([-1.0, 1.0])
    for _ in range(1_000):
        away = place - GONE
        forget = _voice(*away.tolist(), loss=float(away @ away) / 2)
        place = place - 0.02 * _merged(merge, forget, _voice(*(place - KEPT).tolist()))
    torch.testing.assert_close(place, KEPT, atol=1e-3, rtol=0)
