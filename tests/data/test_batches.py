"""Batches are a function of (seed, set, step): addressable, split by rows, walked epoch by epoch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unlearning.data.batches import Batches


class Numbered:
    """An ImageSource whose images say which row they are; the left half differs from the right."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __call__(self, rows: Tensor) -> Tensor:
        left = rows.float()[:, None, None, None].expand(-1, 1, 2, 1)
        return torch.cat([left, left + 0.5], dim=3)


def test_every_row_is_drawn_once_an_epoch() -> None:
    batches = Batches(None, Numbered(12), batch_size=4, seed=0)
    epochs = [torch.cat([batches(step).retain.rows for step in range(first, first + 3)]) for first in (0, 3)]
    assert all(sorted(rows.tolist()) == list(range(12)) for rows in epochs)
    assert not torch.equal(*epochs)


def test_a_batch_needs_no_history_and_another_seed_is_another_order() -> None:
    walked = Batches(None, Numbered(50), batch_size=8, seed=3)
    for step in range(30):
        expected = walked(step)
    fresh = Batches(None, Numbered(50), batch_size=8, seed=3)(29)
    assert torch.equal(expected.retain.rows, fresh.retain.rows)
    assert torch.equal(expected.retain.images, fresh.retain.images)
    assert not torch.equal(fresh.retain.rows, Batches(None, Numbered(50), batch_size=8, seed=4)(29).retain.rows)


@pytest.mark.parametrize("flip", [False, True])
def test_two_ranks_see_what_one_process_sees(flip: bool) -> None:
    whole = Batches(Numbered(7), Numbered(30), 8, 1, flip=flip)
    for step in range(6):
        expected = whole(step)
        parts = [Batches(Numbered(7), Numbered(30), 8, 1, first, 4, flip)(step) for first in (0, 4)]
        for name in ("forget", "retain"):
            one, two = (getattr(part, name) for part in parts)
            assert torch.equal(torch.cat([one.rows, two.rows]), getattr(expected, name).rows)
            assert torch.equal(torch.cat([one.images, two.images]), getattr(expected, name).images)


def test_a_set_smaller_than_the_batch_wraps_around() -> None:
    drawn = Batches(Numbered(3), Numbered(30), batch_size=8, seed=0)(0)
    counts = drawn.forget.rows.bincount(minlength=3)
    assert len(drawn.forget.rows) == 8
    assert counts.min() >= 2


def test_without_a_forget_set_the_sample_is_empty_but_shaped() -> None:
    drawn = Batches(None, Numbered(30), batch_size=8, seed=0)(0)
    assert drawn.forget.images.shape == (0, 1, 2, 2)
    assert drawn.forget.rows.shape == (0,)


def test_flip_mirrors_some_images_and_never_changes_which() -> None:
    plain, flipped = (Batches(None, Numbered(64), 64, 0, flip=flip)(0).retain for flip in (False, True))
    assert torch.equal(plain.rows, flipped.rows)
    same = (plain.images == flipped.images).flatten(1).all(1)
    mirrored = (plain.images.flip(-1) == flipped.images).flatten(1).all(1)
    assert torch.equal(same, ~mirrored)
    assert 16 < mirrored.sum() < 48


def test_a_retain_set_that_is_absent_is_empty_and_the_other_walks_as_before() -> None:
    both, alone = (Batches(Numbered(12), retain, batch_size=4, seed=0)(5) for retain in (Numbered(30), None))
    assert alone.retain.images.shape == (0, *both.retain.images.shape[1:])
    assert torch.equal(alone.forget.rows, both.forget.rows)
    assert len(alone) == len(both) == len(alone.part(slice(0, 4))) == 4
    assert len(alone.part(slice(1, 3))) == 2
