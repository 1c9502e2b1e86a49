"""Measuring, with generators whose errors are known beforehand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from unlearning.contracts import Generator
from unlearning.corruptions.center_hole import CenterHole
from unlearning.log import silent
from unlearning.metrics.copy import Copy
from unlearning.metrics.extractors import in_domain
from unlearning.metrics.extractors.extractor import Extractor
from unlearning.metrics.kid import Kid
from unlearning.metrics.lpips import Lpips
from unlearning.metrics.mse import Mse
from unlearning.randomness import Draws, generator
from unlearning.types import Corrupted, Images, Latents, Pair, PerImage, View
from unlearning.verbs._measure import MEAN_PICTURE, Measured, Subjects, measure

N, SIZE = 10, 8


class Off(Generator):
    """Fills every hole with one value, so that its error on a picture of zeros is the value's square."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        raise NotImplementedError

    def encode(self, pair: Pair, view: View) -> Latents:
        raise NotImplementedError

    def loss(self, pair: Pair, view: View) -> PerImage:
        raise NotImplementedError

    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        return corrupted.images.masked_fill(corrupted.missing, self.value)

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        return {}


class Zeros:
    """N pictures of zeros."""

    def __len__(self) -> int:
        return N

    def __call__(self, rows: Tensor) -> Images:
        return torch.zeros(len(rows), 1, SIZE, SIZE)


@pytest.fixture
def table() -> pa.Table:
    return pa.table({"key": [f"k{i}" for i in range(N)], "class": ["a", "b"] * (N // 2)})


def measured(table: pa.Table, models: dict[str, Generator], extractor: Extractor | None = None) -> Measured:
    eyes = {} if extractor is None else {"auto": extractor}
    subjects = Subjects(
        models,
        torch.full((1, 1, SIZE, SIZE), 0.5),
        CenterHole(),
        [Mse(), Kid()],
        eyes,
        torch.device("cpu"),
    )
    return measure("forget", table, Zeros(), subjects, seeds=(0, 1), batch_size=4, pictures=6, log=silent)


def test_each_model_and_the_mean_picture_get_their_own_error(table: pa.Table) -> None:
    found = measured(table, {"original": Off(0.1), "unlearned": Off(-0.4)})
    errors = {role: metrics["mse"] for role, metrics in found.per_image.items()}
    assert {role: values.shape for role, values in errors.items()} == dict.fromkeys(errors, (N, 2))
    assert np.allclose(errors["original"], 0.01)
    assert np.allclose(errors["unlearned"], 0.16)
    assert np.allclose(errors[MEAN_PICTURE], 0.25)
    assert found.finite


def test_a_picture_that_is_not_finite_is_noticed(table: pa.Table) -> None:
    assert not measured(table, {"original": Off(float("nan"))}).finite


def test_pictures_are_the_first_ones_in_identical_framing(table: pa.Table) -> None:
    found = measured(table, {"original": Off(0.1)})
    assert set(found.pictures) == {"what it sees", "original", MEAN_PICTURE, "truth"}
    assert {rows.shape for rows in found.pictures.values()} == {(6, 1, SIZE, SIZE)}


@pytest.mark.parametrize(("observed", "expected"), [(0, 0), (4, 4), (99, N)])
def test_the_observer_looks_at_as_many_as_it_may_evenly(table: pa.Table, observed: int, expected: int) -> None:
    class Greys(Zeros):
        def __call__(self, rows: Tensor) -> Images:
            return (rows / N).reshape(-1, 1, 1, 1).expand(-1, 1, SIZE, SIZE).contiguous()

    models: dict[str, Generator] = {"original": Off(0.0), "unlearned": Off(-0.4)}
    subjects = Subjects(models, torch.zeros(1, 1, SIZE, SIZE), CenterHole(), [Mse()], {}, torch.device("cpu"))
    found = measure("forget", table, Greys(), subjects, (0, 1), 4, pictures=0, log=silent, observed=observed)
    assert set(found.looks) == (set(models) if expected else set())
    for role, value in (("original", 0.0), ("unlearned", -0.4)) if expected else ():
        greys = np.arange(expected) * N // expected / N
        np.testing.assert_allclose(found.looks[role][:, 0], value - greys, atol=1e-6)  # off in the mean


def test_without_an_extractor_set_metrics_are_absent_not_zero(table: pa.Table) -> None:
    assert measured(table, {"original": Off(0.1)}).per_set == {"original": {}, MEAN_PICTURE: {}}


def test_features_see_missing_pixels_only(table: pa.Table) -> None:
    """A perfect generator has KID 0 here, one that is off does not; the extractor sees no visible pixel."""
    seen: list[Tensor] = []

    class Means(nn.Module):
        def forward(self, images: Images) -> Tensor:
            seen.append(images)
            return images.flatten(1)[:, ::7]

    found = measured(
        table, {"original": Off(0.0), "unlearned": Off(0.9)}, Extractor("", "", Means(), torch.device("cpu"))
    )
    assert np.mean(found.per_set["original"]["kid"]) == pytest.approx(0, abs=1e-9)
    assert np.mean(found.per_set["unlearned"]["kid"]) > 0.01
    assert all(not images[..., 0].any() for images in seen)  # the first column is visible under a centre hole


@pytest.fixture
def striped() -> tuple[list[str], type]:
    """Two classes: stripes down, stripes across."""
    labels = ["down", "across"] * 32

    class Striped:
        def __len__(self) -> int:
            return len(labels)

        def __call__(self, rows: Tensor) -> Images:
            noise = torch.randn(64, 1, SIZE, SIZE, generator=generator(0, "stripes")) * 0.2
            down = (torch.arange(SIZE) % 2 * 2 - 1.0).expand(SIZE, SIZE)
            return torch.stack([down if row % 2 == 0 else down.T for row in rows])[:, None] + noise[rows]

    return labels, Striped


def test_the_extractor_trained_in_domain_separates_its_classes_and_is_cached(
    striped: tuple[list[str], type], tmp_path_factory: pytest.TempPathFactory
) -> None:
    labels, source = striped
    cache = tmp_path_factory.mktemp("cache") / "extractor.safetensors"
    made = in_domain.train(source(), labels, CenterHole(), cache, torch.device("cpu"))
    assert made is not None
    features = made(source()(torch.arange(64)))
    assert features.dtype == torch.float64
    between = (features[::2].mean(0) - features[1::2].mean(0)).norm()
    within = features[::2].std(0).norm() + features[1::2].std(0).norm()
    assert between > within
    written = cache.stat().st_mtime_ns
    again = in_domain.train(source(), labels, CenterHole(), cache, torch.device("cpu"))
    assert again is not None
    assert cache.stat().st_mtime_ns == written
    assert torch.equal(again(source()(torch.arange(4))), made(source()(torch.arange(4))))
    assert in_domain.train(source(), ["one"] * 64, CenterHole(), cache, torch.device("cpu")) is None


class Counting(Off):
    """Counts its reconstructions, and fails at one of them, as a machine does."""

    def __init__(self, value: float, fails_at: int | None = None) -> None:
        super().__init__(value)
        self.calls, self.fails_at = 0, fails_at

    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        self.calls += 1
        if self.calls == self.fails_at:
            raise RuntimeError("the machine went down")
        noise = draws.normal(1, SIZE, SIZE) * 0.1
        return super().reconstruct(corrupted, draws) + noise.masked_fill(~corrupted.missing, 0.0)


class Halves(nn.Module):
    """Features that are not the picture itself, and a count of the pictures that were looked at."""

    seen = 0

    def forward(self, images: Images) -> Tensor:
        self.seen += len(images)
        return images.flatten(1)[:, ::7] / 3


def test_one_picture_in_every_row_is_looked_at_once(table: pa.Table) -> None:
    """The mean picture in a hole that never moves; a model's pictures are looked at one by one."""
    network = Halves()
    subjects = Subjects(
        {"original": Counting(0.1)}, torch.full((1, 1, SIZE, SIZE), 0.5), CenterHole(), [Kid()],
        {"auto": Extractor("halves", "ab", network, torch.device("cpu"))}, torch.device("cpu"),
    )  # fmt: skip
    found = measure("forget", table, Zeros(), subjects, (0,), N, 0, silent)
    assert network.seen == 2 * N + 1  # the truth, the model, the mean picture
    assert found.per_set[MEAN_PICTURE]["kid"][0] > 0


def test_what_copies_sees_is_whole_and_beside_the_images_to_forget(table: pa.Table) -> None:
    """A model that fills holes with an image to forget is caught, whatever the truth is."""

    class Whole(nn.Module):
        def forward(self, images: Images) -> Tensor:
            return images.flatten(1) - 1  # a picture of zeros has a direction

    forget = torch.full((1, 1, SIZE, SIZE), 0.0)
    forget[..., 2:6, 2:6] = -0.6
    models: dict[str, Generator] = {"original": Off(-0.6), "unlearned": Off(0.9)}
    extractor = Extractor("whole", "", Whole(), torch.device("cpu"))
    subjects = Subjects(
        models, torch.zeros(1, 1, SIZE, SIZE), CenterHole(side=0.5), [Mse(), Copy()], {"copies": extractor},
        torch.device("cpu"), forget={"copies": extractor(forget)},
    )  # fmt: skip
    found = measure("holdout", table, Zeros(), subjects, (0,), 4, 0, silent)
    assert np.allclose(found.per_image["original"]["copy"], 1)
    assert (found.per_image["unlearned"]["copy"] < 0.99).all()


def test_lpips_reads_maps_of_whole_pictures_and_no_features(table: pa.Table) -> None:
    class Refuses(nn.Module):
        def forward(self, images: Images) -> Tensor:
            raise AssertionError("no table of features was asked for")

    class Itself(nn.Module):
        def forward(self, images: Images) -> tuple[Tensor, ...]:
            return (torch.cat([images + 1, torch.ones_like(images)], 1),)

    extractor = Extractor("maps", "", Refuses(), torch.device("cpu"), depths=Itself())
    models: dict[str, Generator] = {"original": Off(0.0), "unlearned": Off(-1.0)}
    subjects = Subjects(
        models, torch.zeros(1, 1, SIZE, SIZE), CenterHole(), [Lpips()], {"perceptual": extractor}, torch.device("cpu")
    )
    found = measure("holdout", table, Zeros(), subjects, (0,), 4, 0, silent)
    assert np.allclose(found.per_image["original"]["lpips"], 0)
    # |(1, 1) / sqrt 2 - (0, 1)|^2 in every missing place
    assert np.allclose(found.per_image["unlearned"]["lpips"], 2 - np.sqrt(2), atol=1e-6)
