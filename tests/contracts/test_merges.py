"""Every merge, because it is registered."""

from __future__ import annotations

import pytest
import torch

from tests import toys
from unlearning.contracts import Merge, Voice
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.scopes.all import All
from unlearning.training.step import Step
from unlearning.verbs._kinds import register

register()


@pytest.fixture(params=sorted(Merge.kinds))
def merge(request: pytest.FixtureRequest) -> Merge:
    return Merge.kinds[request.param]()


def _voice(seed: int, scale: float = 1.0) -> Voice:
    drawn = torch.Generator().manual_seed(seed)
    parts = [scale * torch.randn(shape, generator=drawn) for shape in ((3, 2), (4,))]
    return Voice(torch.tensor(scale), parts)


def test_merges_without_a_hidden_memory(merge: Merge) -> None:
    """What is merged is a function of the two voices: nothing to save, nothing to restore."""
    for _ in range(2):
        if merge.apart:
            first, second = (merge.gradient(_voice(0), _voice(1)) for _ in range(2))
            assert [part.shape for part in first] == [(3, 2), (4,)]
            assert all(torch.equal(a, b) and a.isfinite().all() for a, b in zip(first, second, strict=True))
        else:
            loss = merge.loss(torch.tensor(2.0), torch.tensor(3.0))
            assert loss.shape == ()
            assert torch.equal(loss, merge.loss(torch.tensor(2.0), torch.tensor(3.0)))


def test_both_voices_are_heard(merge: Merge) -> None:
    if merge.apart:
        both = merge.gradient(_voice(0), _voice(1))
        for other in (merge.gradient(_voice(2), _voice(1)), merge.gradient(_voice(0), _voice(2))):
            assert any(not torch.equal(a, b) for a, b in zip(both, other, strict=True))
    else:
        forget, retain = (torch.tensor(1.0, requires_grad=True) for _ in range(2))
        merge.loss(forget, retain).backward()
        assert forget.grad is not None
        assert forget.grad > 0
        assert retain.grad is not None
        assert retain.grad > 0


def test_joint_merges_are_linear(merge: Merge) -> None:
    """Data parallelism averages after merging: that is only right for a linear merge. Others must be apart."""
    if merge.apart:
        pytest.skip("it gets both gradients averaged over the ranks, so it need not be linear")
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([5.0, -3.0])
    torch.testing.assert_close(merge.loss(a + b, b - a), merge.loss(a, -a) + merge.loss(b, b))


def test_a_silent_forget_voice_adds_nothing(merge: Merge) -> None:
    if merge.apart:
        retain = _voice(1)
        merged = merge.gradient(_voice(0, scale=0.0), retain)
        assert all(torch.equal(a, b) for a, b in zip(merged, retain.gradient, strict=True))
    else:
        assert torch.equal(merge.loss(torch.tensor(0.0), torch.tensor(3.0)), torch.tensor(3.0))


def test_trains_with_a_method_that_has_one_voice(merge: Merge) -> None:
    run = toys.run(method=NaiveDeletion(), merge=merge, scope=All())
    step = Step(run, toys.ALONE)
    losses, norm = step(run.batches(0), 0)
    assert losses.keys() == {"retain", "loss"}
    assert norm > 0


def test_says_where_it_comes_from(merge: Merge) -> None:
    assert "et al." in merge.paper()
