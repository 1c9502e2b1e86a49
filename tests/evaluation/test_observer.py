"""The observer, on pictures of which is known how well they can be told apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from unlearning.metrics._observer import FEWEST, Looks, look, told_apart
from unlearning.metrics._scores import Score
from unlearning.randomness import generator
from unlearning.types import Images, Missing

SIDE = 8


def pictures(images: int, *where: int | str) -> Images:
    return torch.rand(images, 1, SIDE, SIDE, generator=generator(0, *where)) * 2 - 1


def hole(images: int) -> Missing:
    missing = torch.zeros(images, 1, SIDE, SIDE, dtype=torch.bool)
    missing[:, :, 2:6, 2:6] = True
    return missing


def drawn(truth: Images, noise: float, *where: int | str) -> Images:
    return torch.where(hole(len(truth)), truth + noise * pictures(len(truth), *where), truth)


def seen(truth: Images, picture: Images) -> Looks:
    return look(truth, picture, hole(len(truth))).numpy()


def auc_of(one: Looks, other: Looks) -> Score:
    score = told_apart(one, other, 200, 0.95, "forget")
    assert score is not None
    return score


def test_the_same_pictures_cannot_be_told_apart_at_all() -> None:
    """Every score comes up on either side, so ties and pairs cancel exactly."""
    truth = pictures(60, "truth")
    same = seen(truth, drawn(truth, 0.5, "model"))
    score = auc_of(same, same.copy())
    assert (score.value, score.low, score.high) == (0.5, 0.5, 0.5)
    assert (score.images, score.measured_on) == (60, "forget")


def test_two_perfect_models_cannot_be_told_apart() -> None:
    truth = pictures(60, "truth")
    nothing_varies = np.zeros_like(seen(truth, truth))
    assert auc_of(nothing_varies, nothing_varies).value == 0.5
    assert auc_of(seen(truth, truth), seen(truth, truth)).value == 0.5


@pytest.mark.parametrize("other", ["another level", "other noise", "a flat hole", "another pattern"])
def test_grossly_different_pictures_are_told_apart(other: str) -> None:
    truth = pictures(80, "truth")
    model = drawn(truth, 0.2, "model")
    stripes = (torch.arange(SIDE) % 2 * 2 - 1.0) * 0.3
    changed = {
        "another level": model + 0.5 * hole(80),
        "other noise": drawn(truth, 1.0, "model"),
        "a flat hole": truth.masked_fill(hole(80), 0.1),
        "another pattern": model + stripes * hole(80),
    }[other]
    score = auc_of(seen(truth, changed), seen(truth, model))
    assert score.value > 0.97
    assert score.low > 0.9


def test_half_of_the_pictures_changed_is_told_three_times_in_four() -> None:
    """A changed picture is always told from another one, an unchanged one by luck: 1/2 * 1 + 1/2 * 1/2."""
    truth = pictures(400, "truth")
    model, model_again = drawn(truth, 0.1, "one"), drawn(truth, 0.1, "other")
    changed = model_again.clone()
    changed[::2] += 0.5 * hole(200)
    assert auc_of(seen(truth, changed), seen(truth, model)).value == pytest.approx(0.75, abs=0.05)


def test_noise_alone_is_within_its_interval_about_as_often_as_that_says() -> None:
    """Two models that differ by nothing but their noise: the value is 1/2 in the mean, the interval holds 1/2."""
    scores = []
    for repeat in range(60):
        truth = pictures(60, "truth", repeat)
        one, other = (seen(truth, drawn(truth, 0.5, role, repeat)) for role in ("one", "other"))
        scores.append(auc_of(one, other))
    assert np.mean([score.value for score in scores]) == pytest.approx(0.5, abs=0.02)
    assert sum(score.low <= 0.5 <= score.high for score in scores) >= 54


def test_nothing_is_said_of_few_images_or_of_what_is_not_finite() -> None:
    truth = pictures(FEWEST, "truth")
    one, other = (seen(truth, drawn(truth, 0.5, role)) for role in ("one", "other"))
    assert told_apart(one, other, 200, 0.95, "forget") is not None
    assert told_apart(one[1:], other[1:], 200, 0.95, "forget") is None
    one[3, 4] = np.nan
    assert told_apart(one, other, 200, 0.95, "forget") is None


def test_what_is_visible_is_never_looked_at() -> None:
    truth = pictures(5, "truth")
    model = drawn(truth, 0.5, "model")
    beside = hole(5).roll(3, dims=3) & ~hole(5)
    beside[..., :7] = False  # a column that no missing pixel touches
    assert torch.equal(look(truth, model, hole(5)), look(truth, model + beside * 0.7, hole(5)))


def _texture(picture: Tensor) -> list[float]:
    truth = torch.zeros_like(picture)
    return look(truth, picture, hole(1))[0, :5].tolist()


def test_the_numbers_about_a_picture_are_what_they_say() -> None:
    """A hole of 4 x 4: flat at 1/2, and a chequerboard of 1 and -1, in a picture of zeros."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    board = ((rows + columns) % 2 * 2 - 1.0)[None, None] * hole(1)
    off, wrong, deviation, rough, edge = _texture(hole(1) * 0.5)
    assert (off, wrong, deviation, rough, edge) == (0.5, 0.5, 0.0, 0.0, 0.5)
    off, wrong, deviation, rough, edge = _texture(board)
    assert (off, wrong, deviation, rough, edge) == (0.0, 1.0, 1.0, 2.0, 1.0)


def test_large_pictures_are_seen_small_and_a_picture_that_is_all_missing_has_no_edge() -> None:
    truth = torch.zeros(2, 3, 96, 64)
    missing = torch.ones(2, 1, 96, 64, dtype=torch.bool)
    found = look(truth, truth + 0.25, missing)
    assert found.shape == (2, 8 + 3 * 32 * 32)
    assert torch.equal(found[:, 8:], torch.full((2, 3 * 32 * 32), 0.25, dtype=torch.float64))
    assert found[0, :5].tolist() == [0.25, 0.25, 0.0, 0.0, 0.0]
