from __future__ import annotations

import pytest

from unlearning.params import Budget
from unlearning.training.schedule import learning_rate


def test_warms_up_linearly_then_falls_on_a_half_cosine() -> None:
    budget = Budget(steps=6, batch_size=1, learning_rate=1.0, warmup_steps=2)
    rates = [learning_rate(budget, step) for step in range(6)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_without_warm_up_it_starts_at_the_peak() -> None:
    assert learning_rate(Budget(steps=3, batch_size=1, learning_rate=0.1), 0) == 0.1


def test_a_warm_up_longer_than_the_run_never_divides_by_zero() -> None:
    budget = Budget(steps=2, batch_size=1, learning_rate=1.0, warmup_steps=5)
    assert [learning_rate(budget, step) for step in range(6)][:2] == [0.2, 0.4]
