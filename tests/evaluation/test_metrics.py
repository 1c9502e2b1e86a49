"""Metrics against closed forms: nothing here looks at a picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from unlearning.contracts import Compared, Features, Layers, Metric
from unlearning.metrics.frechet import Frechet
from unlearning.metrics.kid import Kid
from unlearning.metrics.mse import Mse
from unlearning.metrics.psnr import Psnr
from unlearning.metrics.ssim import Ssim
from unlearning.randomness import generator
from unlearning.recipe import discover

discover("unlearning.metrics")


def images(n: int = 4, channels: int = 3, size: int = 12, name: str = "truth") -> torch.Tensor:
    return torch.rand(n, channels, size, size, generator=generator(0, name)) * 2 - 1


def hole(n: int = 4, size: int = 12) -> torch.Tensor:
    missing = torch.zeros(n, 1, size, size, dtype=torch.bool)
    missing[:, :, 2:6, 3:9] = True
    return missing


def test_mse_of_a_constant_shift_is_its_square_whatever_the_hole() -> None:
    truth = images()
    assert torch.allclose(Mse()(Compared(truth, truth + 0.3, hole())), torch.full((4,), 0.09).double(), atol=1e-6)


@pytest.mark.parametrize("kind", ["mse", "psnr", "ssim"])
def test_visible_pixels_far_from_the_hole_do_not_count(kind: str) -> None:
    truth, missing = images(), hole()
    generated = truth + 0.1
    far = missing.new_zeros(missing.shape)
    far[:, :, 10:, :] = True  # further from the hole than SSIM's window reaches
    metric = Metric.kinds[kind]()
    assert torch.equal(
        metric(Compared(truth, generated, missing)), metric(Compared(truth, generated.masked_fill(far, 5.0), missing))
    )


def test_psnr_of_a_known_error() -> None:
    truth = images()
    expected = 10 * math.log10(4 / 0.01)
    assert Psnr()(Compared(truth, truth + 0.1, hole())).tolist() == pytest.approx([expected] * 4, rel=1e-4)
    assert Psnr()(Compared(truth, truth, hole())).tolist() == pytest.approx([100.0] * 4)


def test_ssim_of_constant_pictures_is_the_luminance_term() -> None:
    a, b, c1 = 0.5, -0.2, 0.02**2
    truth, generated = torch.full((1, 1, 12, 12), a), torch.full((1, 1, 12, 12), b)
    x, y = a + 1, b + 1  # the formula is for pixels from 0
    expected = (2 * x * y + c1) / (x * x + y * y + c1)
    assert Ssim()(Compared(truth, generated, hole(1))).item() == pytest.approx(expected, rel=1e-5)
    assert Ssim()(Compared(truth, truth, hole(1))).item() == pytest.approx(1.0)


def test_ssim_works_on_pictures_as_small_as_its_window() -> None:
    truth = images(2, 1, 8)
    missing = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    missing[:, :, :2] = True
    value = Ssim()(Compared(truth, -truth, missing))
    assert bool((value < 0.5).all())
    assert bool((value >= -1).all())


def features(n: int, mean: float, scale: float, name: str) -> torch.Tensor:
    return torch.randn(n, 3, generator=generator(0, name), dtype=torch.float64) * scale + mean


def of_set(truth: torch.Tensor, generated: torch.Tensor, **more: Any) -> Compared:
    nothing = torch.empty(len(truth), 0)
    return Compared(nothing, nothing, nothing, {"auto": Features(truth, generated, **more)})


def test_frechet_of_gaussians_reaches_its_closed_form() -> None:
    first, second = features(20_000, 0, 1, "a"), features(20_000, 2, 3, "b")
    value = Frechet()(of_set(first, second)).item()
    assert value == pytest.approx(3 * 2**2 + 3 * (3 - 1) ** 2, rel=0.03)  # |m|^2 + sum (s1 - s2)^2 over 3 dimensions
    assert Frechet()(of_set(first, first)).item() == pytest.approx(0, abs=1e-4)


def test_frechet_of_one_picture_in_every_row_is_its_distance_and_the_others_spread() -> None:
    spread, one = features(2_000, 0, 1, "a"), torch.tensor([[3.0, 0.0, 4.0]]).expand(2_000, 3)
    assert Frechet()(of_set(spread, one)).item() == pytest.approx(25 + 3, rel=0.05)


def test_frechet_of_fewer_images_than_features_is_not_measured() -> None:
    few = features(3, 0, 1, "few")
    assert np.isnan(Frechet()(of_set(few, few)).item())


def test_kid_is_the_unbiased_estimate_by_hand() -> None:
    x, y = features(5, 0, 1, "x"), features(5, 1, 1, "y")
    k = lambda a, b: (float(a @ b) / 3 + 1) ** 3  # noqa: E731
    pairs = [(i, j) for i in range(5) for j in range(5)]
    within = sum(k(x[i], x[j]) + k(y[i], y[j]) for i, j in pairs if i != j) / 20
    across = sum(k(x[i], y[j]) for i, j in pairs) / 25
    assert Kid()(of_set(x, y)).item() == pytest.approx(within - 2 * across)


@pytest.mark.parametrize("kind", sorted(kind for kind, metric in Metric.kinds.items() if not metric.per_image))
def test_a_set_metric_without_features_is_not_measured(kind: str) -> None:
    assert np.isnan(Metric.kinds[kind]()(Compared(images(), images(), hole())).item())


def shown(metric: Metric, truth: torch.Tensor, generated: torch.Tensor, missing: torch.Tensor) -> Compared:
    """To an extractor that passes on the pictures as they are, as features and as the only map."""
    name, (x, y) = metric.through(), (picture.flatten(1).double() for picture in (truth, generated))
    seen = Features(x, y, layers=Layers([truth], [generated]), forget=x)
    return Compared(truth, generated, missing, {} if name is None else {name: seen})


@pytest.mark.parametrize("kind", sorted(kind for kind, metric in Metric.kinds.items() if metric.per_image))
def test_closer_pictures_score_closer(kind: str) -> None:
    metric, truth, missing = Metric.kinds[kind](), images(), hole()
    noise = images(name="noise")
    near, far = (metric(shown(metric, truth, truth + step * noise, missing)) for step in (0.1, 0.5))
    assert near.shape == (4,)
    assert near.dtype == torch.float64
    assert bool(((near > far) if metric.higher_is_closer else (near < far)).all())


def through(kind: str, key: str, truth: torch.Tensor, generated: torch.Tensor, **more: Any) -> torch.Tensor:
    pictures = torch.zeros(len(truth), 1, 2, 2)
    missing = torch.ones(len(truth), 1, 2, 2, dtype=torch.bool)
    return Metric.kinds[kind]()(Compared(pictures, pictures, missing, {key: Features(truth, generated, **more)}))


def test_similarity_is_the_cosine_of_each_pair() -> None:
    truth = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 1.0]])
    generated = torch.tensor([[3.0, 0.0], [0.0, 5.0], [-2.0, -2.0]])
    assert through("similarity", "auto", truth, generated).tolist() == pytest.approx([1, 0, -1])


def test_a_metric_through_a_named_extractor_reads_that_one_and_is_called_by_it() -> None:
    metric = Metric.kinds["similarity"].model_validate({"extractor": "clip"})
    assert (metric.name, metric.through()) == ("similarity_clip", "clip")
    assert Metric.kinds["similarity"]().name == "similarity"
    one, other = torch.ones(1, 2), torch.tensor([[1.0, -1.0]])
    compared = Compared(images(1), images(1), hole(1), {"auto": Features(one, one), "clip": Features(one, other)})
    assert metric(compared).item() == pytest.approx(0)


def test_copy_similarity_is_the_largest_cosine_with_an_image_to_forget() -> None:
    forget = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    generated = torch.tensor([[0.0, 3.0], [1.0, 1.0], [-1.0, 0.0]])
    found = through("copy", "copies", generated, generated, forget=forget)
    assert found.tolist() == pytest.approx([1, math.sqrt(0.5), 0])
    assert through("copy", "copies", generated, generated, forget=forget[:0]).isnan().all()


def lpips(truth: torch.Tensor, generated: torch.Tensor, missing: torch.Tensor, weights: Any = None) -> torch.Tensor:
    nothing = torch.empty(len(truth), 0)
    seen = Features(nothing, nothing, layers=Layers([truth], [generated], weights))
    return Metric.kinds["lpips"]()(Compared(truth, generated, missing, {"perceptual": seen}))


def test_lpips_by_hand_counts_a_place_of_a_map_by_the_share_of_it_that_is_missing() -> None:
    """Four places of 2 x 2 pixels. Where directions are orthogonal |u - v|^2 = 2, where they are equal 0."""
    truth = torch.zeros(1, 2, 2, 2)
    truth[:, 0] = 3.0  # lengths do not count
    generated = truth.clone()
    generated[0, :, 0, 0] = torch.tensor([0.0, 7.0])  # orthogonal in one place
    missing = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    missing[..., :2, :2] = True  # that place, whole
    missing[..., 2, 2] = True  # a quarter of another
    assert lpips(truth, generated, missing).item() == pytest.approx(2 * 1 / 1.25)
    weights = [torch.tensor([0.5, 0.25])]  # |u - v|^2 is 1 in each of the two channels
    assert lpips(truth, generated, missing, weights).item() == pytest.approx(0.75 / 1.25)
    assert lpips(truth, generated, missing.roll(2, 3)).item() == pytest.approx(0)  # what is wrong is visible


def test_precision_and_recall_of_a_generator_that_draws_one_kind_only() -> None:
    kinds = torch.arange(8.0).reshape(8, 1) % 2 * 100 + torch.arange(8.0).reshape(8, 1) * 0.1
    one_kind = kinds[::2].repeat(2, 1) + 0.01 * torch.arange(8.0).reshape(8, 1)
    assert through("precision", "auto", kinds, one_kind).item() == 1
    assert through("recall", "auto", kinds, one_kind).item() == 0.5
    assert through("precision", "auto", kinds, kinds + 1e4).item() == 0
    assert np.isnan(through("recall", "auto", kinds[:3], kinds[:3]).item())


def test_inception_score_of_sure_and_varied_classes_is_their_number() -> None:
    classes = torch.eye(4, dtype=torch.float64).repeat(10, 1)
    nothing = torch.empty(40, 0)
    assert through("inception_score", "auto", nothing, nothing, classes=classes).item() == pytest.approx(4)
    same = torch.full_like(classes, 0.25)
    assert through("inception_score", "auto", nothing, nothing, classes=same).item() == pytest.approx(1)
    assert np.isnan(through("inception_score", "auto", nothing, nothing).item())
