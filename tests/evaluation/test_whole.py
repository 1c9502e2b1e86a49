"""Judging models that are shown nothing: surprise, pictures of their own, and what is said of those."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from tests import toys
from unlearning.abilities import Scoring
from unlearning.contracts import Generator, ImageSource
from unlearning.corruptions.center_hole import CenterHole
from unlearning.corruptions.everything import Everything
from unlearning.generators.palette import PaletteRecipe
from unlearning.log import Progress, silent
from unlearning.metrics._likelihood import Bits
from unlearning.metrics.extractors.extractor import Extractor
from unlearning.params import Params
from unlearning.randomness import Draws
from unlearning.training import checkpoint
from unlearning.types import Images, Pair, PerImage
from unlearning.verbs import _whole, _whole_drawn, _whole_likelihood
from unlearning.verbs._measure import MEAN_PICTURE, Subjects
from unlearning.verbs._whole_drawn import Order
from unlearning.verbs._whole_pictures import Judge
from unlearning.workspace import Workspace

CPU = torch.device("cpu")


class Knows(Scoring):
    """As surprised as a picture is bright, and by a draw of its own; nothing knows the variance alone."""

    draw_view = encode = loss = reconstruct = encoder_parameters = None  # type: ignore[assignment]  # never asked

    def surprise(self, pair: Pair, draws: Draws) -> PerImage:
        return pair.clean.mean((1, 2, 3)) + draws.uniform()

    def surprise_of_nothing(self, pair: Pair, draws: Draws, mean: Images, variance: Images) -> PerImage:
        return variance.mean() + draws.uniform()


def _subjects(**models: Generator) -> Subjects:
    return Subjects(models, torch.zeros(1, 1, 8, 8), Everything(), [], {}, CPU)


def test_every_model_is_asked_under_the_same_draws_whatever_the_batch_size() -> None:
    images = toys.Pictures("retain", 300)  # more than share a stream
    table = pa.table({"key": [str(row) for row in range(300)]})
    known = _whole.nothing(images, images.images.mean(0, keepdim=True))
    subjects = _subjects(original=Knows(), unlearned=Knows())
    small, large = (
        _whole.measure("retain", table, images, subjects, known, (0, 1), size, 2, silent) for size in (7, 1000)
    )
    errors = {role: found["surprise"] for role, found in small.per_image.items()}
    np.testing.assert_array_equal(errors["original"], large.per_image["original"]["surprise"])
    np.testing.assert_array_equal(errors["original"], errors["unlearned"])
    brightness = images.images.mean((1, 2, 3)).double().numpy()
    gap = errors["original"] - errors[MEAN_PICTURE]  # the draw is the same for who knows nothing
    np.testing.assert_allclose(gap, (brightness - float(known.variance.mean()))[:, None].repeat(2, 1), atol=1e-6)
    assert abs(errors["original"][0, 0] - errors["original"][0, 1]) > 1e-3  # another seed is another draw
    assert (small.error, small.finite, set(small.pictures)) == ("surprise", True, {"truth"})


def test_some_rows_are_asked_under_the_draws_of_the_whole_set() -> None:
    images, rows = toys.Pictures("forget", 300), [2, 17, 255, 256, 299]
    known = _whole.nothing(images, images.images.mean(0, keepdim=True))
    subjects, table = _subjects(unlearned=Knows()), pa.table({"key": [str(row) for row in range(300)]})
    whole = _whole.measure("forget", table, images, subjects, known, (0, 1), 64, 0, silent).per_image
    for size in (1, 64):
        some = _whole.errors("forget", images, rows, subjects, known, (0, 1), size)
        for role in ("unlearned", MEAN_PICTURE):
            np.testing.assert_array_equal(some[role], whole[role]["surprise"][rows])


def test_a_pixel_that_never_varies_is_not_known_for_sure() -> None:
    class Half:
        """Black above; below, half of the pictures white."""

        def __len__(self) -> int:
            return 600

        def __call__(self, rows: Tensor) -> Images:
            images = torch.full((len(rows), 1, 8, 8), -1.0)
            images[rows % 2 == 0, :, 4:] = 1.0
            return images

    known = _whole.nothing(Half(), Half()(torch.arange(600)).mean(0, keepdim=True))
    torch.testing.assert_close(known.variance[0, 0, 4:], torch.ones(4, 8))
    torch.testing.assert_close(known.variance[0, 0, :4], torch.full((4, 8), 0.1 * 0.5))


def test_surprise_judges_where_nothing_is_shown_and_every_model_says_it() -> None:
    able, unable = Knows(), toys.built(toys.MaeRecipe(**toys.SMALL_MAE))
    assert _whole.judges(Everything(), {"original": able})
    assert not _whole.judges(CenterHole(), {"original": able})
    assert not _whole.judges(Everything(), {"original": able, "unlearned": unable})


def _order(**changes: Any) -> Order:
    return Order(**{
        "count": 5, "seed": 0, "shape": (1, 8, 8), "corruption": Everything(), "batch_size": 2, "device": CPU, **changes
    })  # fmt: skip


def test_pictures_are_drawn_once_and_again_where_they_are_damaged(tmp_path: Path) -> None:
    recipe = PaletteRecipe(**toys.SMALLEST["palette"])
    model, workspace, asked = toys.built(recipe).eval(), Workspace(tmp_path / "var"), list[Progress]()
    checkpoint.save(tmp_path / "one", model, recipe, 8, 1, {})

    def draw(**changes: Any) -> np.ndarray:
        asked.clear()
        return _whole_drawn.pictures(_order(**changes), tmp_path / "one", model, workspace, asked.append).pixels

    first = draw()
    assert asked
    np.testing.assert_array_equal(draw(), first)
    assert not asked
    (kept,) = workspace.work("drawn").glob("*.safetensors")
    for damage in (lambda content: content[:-1] + bytes([content[-1] ^ 1]), lambda content: content[:40]):
        kept.write_bytes(damage(kept.read_bytes()))
        np.testing.assert_array_equal(draw(), first)
        assert asked
    kept.unlink()
    np.testing.assert_array_equal(draw(batch_size=64), first)
    assert not np.array_equal(draw(seed=1), first)
    np.testing.assert_array_equal(draw(count=3), first[:3])
    assert len(list(workspace.work("drawn").glob("*.safetensors"))) == 3


def test_a_picture_that_is_not_finite_is_counted_and_black(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = PaletteRecipe(**toys.SMALLEST["palette"])
    model = toys.built(recipe)
    checkpoint.save(tmp_path / "one", model, recipe, 8, 1, {})
    broken = torch.tensor([0.0, math.nan]).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    monkeypatch.setattr(model, "reconstruct", lambda corrupted, draws: broken)
    for _ in range(2):  # drawn, and read again
        found = _whole_drawn.pictures(_order(count=2), tmp_path / "one", model, Workspace(tmp_path / "var"), silent)
        assert found.broken == 1
        assert found.images.mean((1, 2, 3)).tolist() == pytest.approx([0.0, -1.0], abs=0.01)


class Corners(nn.Module):
    """Four numbers of a picture."""

    def forward(self, images: Images) -> Tensor:
        return images[:, 0, ::7, ::7].flatten(1)


def _judge(repository: Path, head: bool = True, forget: int = 3, **changes: Any) -> Judge:
    params = Params.read(
        repository / "params.yaml", {"evaluate.drawn": {"images": 1, "copy_distance": 0.05}, **changes}
    )
    extractor = Extractor("corners", "", Corners(), CPU, nn.Identity() if head else None)
    images: dict[str, ImageSource] = {"forget": toys.Pictures("forget", forget), "retain": toys.Pictures("retain", 60)}
    return Judge(params, images, extractor)


def test_copies_are_counted_and_what_is_left_is_judged(repository: Path) -> None:
    forget, retain = toys.pictures("forget", 3), toys.pictures("retain", 60)
    drawn = torch.cat([forget[:2] + 0.01, retain])
    block, copied = _judge(repository)(drawn)
    assert copied.tolist() == [True, True, *[False] * 60]
    assert (block["copies"]["count"], block["images"], block["judged"]) == (2, 62, 60)
    assert block["nearest"] == pytest.approx(0.005)
    assert (block["precision"], block["recall"]) == (1, 1)
    assert block["frechet"] == pytest.approx(0, abs=1e-9)  # the copies are gone: what is left is the retain set
    assert block["inception_score"]["mean"] > 1
    assert _judge(repository)(drawn[2:])[0]["similarity"] < block["similarity"] < 1


def test_what_cannot_be_said_is_none(repository: Path) -> None:
    block, _ = _judge(repository, head=False)(toys.pictures("forget", 3))  # copies, every one
    assert (block["copies"]["rate"], block["judged"]) == (1.0, 0)
    assert [block[name] for name in ("inception_score", "frechet", "kid", "precision", "recall")] == [None] * 5
    block, _ = _judge(repository, forget=0)(toys.pictures("retain", 60))  # training saw none of those to forget
    assert (block["copies"]["count"], block["nearest"], block["similarity"], block["recall"]) == (0, None, None, 1)


def test_a_mirrored_copy_counts_where_training_mirrored(repository: Path) -> None:
    mirrored = toys.pictures("forget", 3).flip(-1)
    assert _judge(repository)(mirrored)[0]["copies"]["count"] == 0
    assert _judge(repository, **{"data.flip": True})(mirrored)[0]["copies"]["count"] == 3


def test_bits_are_averaged_and_compared_image_by_image() -> None:
    def bits(*values: float, error: float) -> Bits:
        return Bits(torch.tensor(values), torch.full((len(values),), error))

    found = {
        ("forget", "unlearned"): bits(3.0, 5.0, error=0.3),
        ("forget", "reference"): bits(1.0, 2.0, error=math.nan),
    }
    said = _whole_likelihood.summary(found)["forget"]
    assert said["unlearned"] == {
        "images": 2,
        "bits": 4.0,
        "standard_error": pytest.approx(0.3 / math.sqrt(2)),
        "beyond_reference": 2.5,
    }
    assert said["reference"]["standard_error"] is None
