"""Learning rate as a pure function of the step, so a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from unlearning.params import Budget


def learning_rate(budget: Budget, step: int) -> float:
    """Linear warm-up to the peak, then a half cosine to 0 (Loshchilov & Hutter, ICLR 2017, without restarts).

    >>> budget = Budget(steps=6, batch_size=1, learning_rate=1.0, warmup_steps=2)
    >>> [round(learning_rate(budget, step), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < budget.warmup_steps:
        return budget.learning_rate * (step + 1) / budget.warmup_steps
    done = (step - budget.warmup_steps) / max(budget.steps - budget.warmup_steps, 1)
    return budget.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
