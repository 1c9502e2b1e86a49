"""Near duplicates are found by comparing pixels, and only those; thumbnails spare work and change nothing."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from unlearning.data import duplicates, index, pictures
from unlearning.errors import DataError
from unlearning.log import silent
from unlearning.params import Data
from unlearning.verbs import ingest
from unlearning.workspace import Workspace

SIZE = 16
DATA = Data(name="toys", image_size=SIZE, channels=3)
Pixels = np.ndarray  # [H, W, 3] uint8


def stored(folder: Path, images: list[Pixels], extension: str = "png") -> tuple[Workspace, pa.Table]:
    """The images as a data set, and its index in their order."""
    for number, pixels in enumerate(images):
        path = folder / "source" / "some" / f"{number:03d}.{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    workspace = Workspace(folder / "var")
    ingest.run(str(folder / "source"), "toys", workspace, silent)
    return workspace, index.read(workspace.dataset("toys")).sort_by("key")


def rms(one: Pixels, two: Pixels) -> float:
    """In [-1, 1]."""
    return float(np.sqrt(np.square((one.astype(float) - two) / 127.5).mean()))


def test_it_finds_what_comparing_every_pair_finds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)
    images = list(first)
    for scale in (2, 5, 9, 20, 60):  # grey levels of noise: on both sides of the threshold
        noise = rng.normal(0, scale, first.shape)
        images += list((first + noise).clip(0, 255).astype(np.uint8))
    green = first.astype(int)
    green[..., 1] += 20  # all of the difference where a grey level is most sensitive
    images += list(green.clip(0, 255).astype(np.uint8))
    workspace, table = stored(tmp_path, images)
    for threshold in (0.02, 0.06, 0.1):
        found = duplicates.near(table[len(first) :], table[: len(first)], threshold, workspace, DATA).to_pylist()
        wanted = [any(rms(image, one) <= threshold for one in first) for image in images[len(first) :]]
        assert found == wanted
        assert 0 < sum(wanted) < len(wanted)


def test_a_copy_stored_with_loss_is_one(tmp_path: Path) -> None:
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    smooth = np.stack([x * 12, y * 12, (x + y) * 6], axis=2).astype(np.uint8)
    sink = io.BytesIO()
    Image.fromarray(smooth).save(sink, "JPEG", quality=80)
    lossy = np.asarray(Image.open(sink))
    assert not np.array_equal(lossy, smooth)
    workspace, table = stored(tmp_path, [smooth, lossy, smooth[::-1]])
    assert duplicates.near(table[1:], table[:1], 0.05, workspace, DATA).to_pylist() == [True, False]


def test_a_thumbnail_is_the_mean_of_what_it_covers() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24), dtype=np.uint8)
    small = np.frombuffer(pictures.thumbnail(Image.fromarray(pixels)), dtype=np.uint8).reshape(8, 8)
    means = pixels[:, 4:20].reshape(8, 2, 8, 2).mean(axis=(1, 3))
    assert np.abs(small - means).max() <= 1


@pytest.mark.parametrize(("change", "said"), [("remove", "no such thumbnails"), ("damage", "sha256 is not the one")])
def test_damaged_thumbnails_are_noticed(change: str, said: str, tmp_path: Path) -> None:
    workspace, table = stored(tmp_path, [np.full((SIZE, SIZE, 3), level, dtype=np.uint8) for level in (1, 9)])
    path = workspace.dataset("toys") / "thumbnails.npy"
    if change == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=said):
        duplicates.near(table[1:], table[:1], 0.05, workspace, DATA)
    ingest.run(str(tmp_path / "source"), "toys", workspace, silent)  # notices, and makes it anew
    assert len(index.thumbnails(workspace.dataset("toys"))) == 2
