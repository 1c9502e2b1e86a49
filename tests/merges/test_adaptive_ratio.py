"""The adaptive ratio against its own promise, and against the published constant one."""

from __future__ import annotations

import math

import pytest
import torch

from unlearning.contracts import Voice
from unlearning.merges._products import inner
from unlearning.merges.adaptive_ratio import AdaptiveRatio
from unlearning.merges.clipped_forget import ClippedForget

RETAIN = Voice(torch.tensor(1.0), [torch.tensor([2.0, 0.0]), torch.tensor([0.0])])


def _forget(angle: float, norm: float = 5.0) -> Voice:
    """At so many degrees to what is kept."""
    turned = [math.cos(math.radians(angle)), math.sin(math.radians(angle))]
    return Voice(torch.tensor(-1.0), [norm * torch.tensor(turned), torch.tensor([0.0])])


@pytest.mark.parametrize("angle", [95, 100, 120, 150, 180])
@pytest.mark.parametrize("norm", [1e-3, 5.0, 1e4])
def test_the_retain_loss_keeps_its_share_of_the_fall_and_not_more_is_taken_than_allowed(
    angle: float, norm: float
) -> None:
    merged = AdaptiveRatio(share=0.25, most=1.0).gradient(_forget(angle, norm), RETAIN)
    fall, alone = float(inner(merged, RETAIN.gradient)), 4.0
    added = math.hypot(float(merged[0][0]) - 2.0, float(merged[0][1])) / 2.0
    cosine = math.cos(math.radians(angle))
    assert added == pytest.approx(min(1.0, 0.25 / -cosine), rel=1e-3)
    assert fall == pytest.approx(alone * (1 + added * cosine), rel=1e-3)
    assert fall >= 0.75 * alone - 1e-3


@pytest.mark.parametrize("angle", [0, 45, 90])
def test_a_voice_that_costs_nothing_is_as_loud_as_may_be(angle: float) -> None:
    found = AdaptiveRatio(share=0.1, most=0.5).gradient(_forget(angle), RETAIN)
    published = ClippedForget(ratio=0.5).gradient(_forget(angle), RETAIN)
    torch.testing.assert_close(found, published, atol=1e-5, rtol=1e-5)


def test_opposite_voices_get_the_published_ratio() -> None:
    found = AdaptiveRatio(share=0.1).gradient(_forget(180), RETAIN)
    torch.testing.assert_close(found, ClippedForget(ratio=0.1).gradient(_forget(180), RETAIN), atol=1e-5, rtol=1e-5)
