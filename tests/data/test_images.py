"""An image set gives the indexed images, says so when a byte has changed, and keeps what fits in memory."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from tests.toy_batch import toy_workspace
from unlearning.data import images, index, pictures
from unlearning.data.images import ImageSet
from unlearning.errors import DataError
from unlearning.params import Data
from unlearning.workspace import Workspace

DATA = Data(name="toys", image_size=5, channels=3)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return toy_workspace(tmp_path)


@pytest.fixture
def table(workspace: Workspace) -> pa.Table:
    return index.read(workspace.dataset("toys"))


def test_the_middle_square_of_the_stored_picture(workspace: Workspace, table: pa.Table) -> None:
    row = table.to_pylist()[7]
    shard = index.shard_path(workspace, "toys", row["shard"]).read_bytes()
    stored = np.asarray(pictures.decode(shard[row["offset"] : row["offset"] + row["bytes"]], "here"))  # [5, 6, 3]
    (found,) = ImageSet(table, workspace, DATA)(torch.tensor([7]))
    assert torch.equal(found, torch.from_numpy(stored[:, :5].copy()).permute(2, 0, 1) / 127.5 - 1)


@pytest.mark.parametrize("budget", [0, 5 * 75, 2**20])
def test_rows_in_any_order_twice_and_again(workspace: Workspace, table: pa.Table, budget: int) -> None:
    images = ImageSet(table, workspace, DATA, budget)
    whole = images(torch.arange(len(images)))
    rows = torch.tensor([3, 39, 3, 0, 17, 3])
    assert torch.equal(images(rows), whole[rows])
    assert torch.equal(ImageSet(table, workspace, DATA, budget)(rows), whole[rows])
    assert images(torch.empty(0, dtype=torch.int64)).shape == (0, 3, 5, 5)


def test_threads_change_nothing(workspace: Workspace, table: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ImageSet(table, workspace, DATA)(torch.arange(40))
    monkeypatch.setattr(images, "_WORTH_THREADS", 1)
    assert torch.equal(ImageSet(table, workspace, DATA)(torch.arange(40)), plain)


@pytest.mark.parametrize("size", [3, 4, 16, 33])
def test_other_sizes_fill_the_square(workspace: Workspace, table: pa.Table, size: int) -> None:
    for channels in (1, 3):
        data = Data(name="toys", image_size=max(size, 4), channels=1 if channels == 1 else 3)
        found = ImageSet(table, workspace, data)(torch.tensor([0]))
        assert found.shape == (1, channels, max(size, 4), max(size, 4))
        assert found.abs().max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_pictures_of_every_mode_come_in_both_channels(mode: str) -> None:
    picture = Image.new("RGB", (9, 7), (200, 100, 50)).convert(mode)
    sink = io.BytesIO()
    picture.save(sink, "JPEG" if mode == "CMYK" else "PNG")
    image = pictures.decode(sink.getvalue(), "here")
    assert pictures.fitted(image, 4, 3).mode == "RGB"
    assert pictures.fitted(image, 4, 1).mode == "L"
    assert pictures.fitted(image, 4, 1).size == (4, 4)


def test_the_pixel_hash_survives_a_lossless_re_encoding_and_nothing_else() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8))
    hashes = set()
    for form, options in (("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("PPM", {})):
        sink = io.BytesIO()
        picture.save(sink, form, **options)
        hashes.add(pictures.pixel_sha256(pictures.decode(sink.getvalue(), "here")))
    assert len(hashes) == 1
    assert pictures.pixel_sha256(picture.resize((2, 8))) not in hashes
    assert pictures.pixel_sha256(picture.transpose(Image.Transpose.ROTATE_90)) not in hashes


def test_a_changed_byte_names_key_and_shard(workspace: Workspace, table: pa.Table) -> None:
    row = table.to_pylist()[7]
    path = index.shard_path(workspace, "toys", row["shard"])
    content = bytearray(path.read_bytes())
    content[row["offset"] + row["bytes"] // 2] ^= 1
    path.write_bytes(content)
    images = ImageSet(table, workspace, DATA)
    images(torch.tensor([6, 8]))
    with pytest.raises(DataError, match=rf"{row['shard']}, key '{row['key']}': the stored bytes are not the indexed"):
        images(torch.tensor([6, 7, 8]))


def test_a_missing_or_misnamed_shard_is_named(workspace: Workspace, table: pa.Table) -> None:
    index.shard_path(workspace, "toys", "train-000000.tar").unlink()
    with pytest.raises(DataError, match=r"train-000000\.tar: there is no such shard"):
        ImageSet(table, workspace, DATA)(torch.tensor([0]))
    outside = table.set_column(2, index.COLUMNS.field("shard"), pa.array(["../../secret"] * len(table)))
    with pytest.raises(DataError, match="not plain names"):
        ImageSet(outside, workspace, DATA)(torch.tensor([0]))


def test_rows_of_two_data_sets_stand_side_by_side(workspace: Workspace, table: pa.Table, tmp_path: Path) -> None:
    other = table.set_column(1, index.COLUMNS.field("dataset"), pa.array(["copy"] * len(table)))
    workspace.dataset("copy").symlink_to(workspace.dataset("toys"))
    both = ImageSet(pa.concat_tables([table, other]), workspace, DATA)
    found = both(torch.tensor([0, 40]))
    assert torch.equal(found[0], found[1])
