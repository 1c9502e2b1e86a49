"""A source becomes a data set whole, twice the same, or not at all."""

from __future__ import annotations

import io
import json
import tarfile
from collections import defaultdict
from pathlib import Path

import pyarrow.compute as pc
import pytest
import torch
from PIL import Image

from tests.toy_batch import archive, picture_tree, png, snapshot
from unlearning import digests
from unlearning.data import index, manifest, pictures, shards
from unlearning.data.images import ImageSet
from unlearning.data.ingestion import Ingested
from unlearning.errors import DataError
from unlearning.log import silent
from unlearning.params import Data
from unlearning.verbs import ingest
from unlearning.workspace import Workspace

PACKS = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "var")


def stored(workspace: Workspace, source: Path | str, subject_from: str = "none", name: str = "toys") -> Ingested:
    return ingest.run(str(source), name, workspace, silent, subject_from)


def shard(path: Path, *samples: tuple[str, dict[str, bytes]]) -> Path:
    return archive(path, *((f"{key}.{ext}", content) for key, members in samples for ext, content in members.items()))


def test_digits_are_here_without_a_network(workspace: Workspace) -> None:
    described = stored(workspace, "digits", name="digits").described
    assert described["images"] == 1797
    assert sorted(described["classes"]) == [str(digit) for digit in range(10)]
    table = index.read(workspace.dataset("digits"))
    for label in described["classes"]:
        mine = table.filter(pc.equal(table["class"], label))
        assert 0.18 < len(manifest.only(mine, "holdout")) / len(mine) < 0.22
    images = ImageSet(table, workspace, Data())(torch.arange(3))
    assert images.shape == (3, 1, 8, 8)
    assert images.min() == -1
    assert images.max() == 1


def test_every_row_says_where_its_bytes_are(workspace: Workspace, tmp_path: Path) -> None:
    stored(workspace, picture_tree(tmp_path / "pictures"), "folder")
    table = index.read(workspace.dataset("toys"))
    assert table.schema.equals(index.COLUMNS)
    assert len(pc.unique(table["key"])) == len(table) == 40
    for row in table.to_pylist():
        content = index.shard_path(workspace, row["dataset"], row["shard"]).read_bytes()
        content = content[row["offset"] : row["offset"] + row["bytes"]]
        image = pictures.decode(content, "here")
        assert digests.of_bytes(content) == row["sha256"]
        assert pictures.pixel_sha256(image) == row["pixel_sha256"]
        assert (image.width, image.height) == (row["width"], row["height"]) == (6, 5)
        assert row["shard"].startswith(row["split"])


def test_file_names_do_not_become_keys(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    for n, name in enumerate(["jane-doe.png", "null.png", "=cmd.png"]):
        (tmp_path / "pictures" / "cat" / name).write_bytes(png(n))
    stored(workspace, tmp_path / "pictures")
    assert sorted(index.read(workspace.dataset("toys"))["key"].to_pylist()) == [f"toys-00000{n}" for n in range(3)]
    assert b"jane" not in (workspace.dataset("toys") / "index.parquet").read_bytes()


def test_shards_with_and_without_classes(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    said = json.dumps({"class_name": "cat", "owner": 7}).encode()
    shard(folder / "my-train-000.tar", ("a", {"png": png(0), "cls": b"3", "json": said}), ("b", {"png": png(1)}))
    shard(folder / "my-val-000.tar.gz", ("c", {"cls": b"4\n", "PNG": png(2), "txt": b"a caption"}))
    stored(workspace, folder)
    rows = {row["key"]: row for row in index.read(workspace.dataset("toys")).to_pylist()}
    assert {key: (row["class"], row["split"]) for key, row in rows.items()} == {
        "a": ("cat", "train"),
        "b": ("", "train"),
        "c": ("4", "holdout"),
    }
    with pytest.raises(DataError, match=r"sample 'b': there is no field 'owner'.*fields that exist: none"):
        stored(workspace, folder, "owner", "other")


def test_keys_that_repeat_over_shards_are_numbered(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for n, name in enumerate(("train", "test")):
        shard(folder / f"{name}.tar", ("0001", {"png": png(n)}))
    stored(workspace, folder)
    assert index.read(workspace.dataset("toys"))["key"].to_pylist() == ["toys-000001", "toys-000000"]


def test_train_and_test_folders_are_splits(workspace: Workspace, tmp_path: Path) -> None:
    picture_tree(tmp_path / "pictures" / "train", each=2)
    (tmp_path / "pictures" / "test" / "cat").mkdir(parents=True)
    (tmp_path / "pictures" / "test" / "cat" / "1.png").write_bytes(png(77))
    described = stored(workspace, tmp_path / "pictures").described
    assert described["splits"] == {"train": 8, "holdout": 1}
    assert set(described["classes"]) == {"circle", "square", "triangle", "star", "cat"}


def test_the_same_pixels_are_never_on_both_sides(workspace: Workspace, tmp_path: Path) -> None:
    root = picture_tree(tmp_path / "pictures", each=20)
    for number, file in enumerate(sorted(root.rglob("*.png"))):
        if number % 3 == 0:  # the same pixels under other bytes and another class
            Image.open(file).save(root / "circle" / "person-0" / f"copy-{number}.bmp")
    stored(workspace, root)
    sides = defaultdict[str, set[str]](set)
    for row in index.read(workspace.dataset("toys")).to_pylist():
        sides[row["pixel_sha256"]].add(row["split"])
    assert len(sides) == 80
    assert all(len(splits) == 1 for splits in sides.values())
    assert {"train", "holdout"} == set.union(*sides.values())


def test_a_test_image_that_was_trained_on_counts_as_trained(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    shard(folder / "train.tar", ("a", {"png": png(0)}))
    shard(folder / "test.tar", ("b", {"png": png(0)}), ("c", {"png": png(1)}))
    stored(workspace, folder)
    rows = index.read(workspace.dataset("toys")).to_pylist()
    assert {row["key"]: row["split"] for row in rows} == {"a": "train", "b": "train", "c": "holdout"}


def test_again_is_reused_and_another_source_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    root = picture_tree(tmp_path / "pictures", each=2)
    first = stored(workspace, root)
    before = snapshot(workspace.root)
    again = stored(workspace, root)
    assert (first.reused, again.reused) == (False, True)
    (root / "star" / "person-6" / "new.png").write_bytes(png(9))
    with pytest.raises(DataError, match="holds another source"):
        stored(workspace, root)
    assert snapshot(workspace.root) == before


def test_a_damaged_copy_is_made_anew_the_same(workspace: Workspace, tmp_path: Path) -> None:
    root = picture_tree(tmp_path / "pictures", each=2)
    stored(workspace, root)
    before = snapshot(workspace.root)
    (workspace.dataset("toys") / "shards" / "train-000000.tar").write_bytes(b"gone")
    assert not stored(workspace, root).reused
    assert snapshot(workspace.root) == before


def hostile_pictures() -> dict[str, bytes]:
    """Bytes that call themselves a picture, and what is wrong with them."""
    wide = Image.new("1", (5000, 5000))
    sixteen = Image.new("I;16", (4, 4))
    tiff, bomb, deep = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.new("RGB", (4, 4)).save(tiff, "TIFF")
    wide.save(bomb, "PNG")
    sixteen.save(deep, "PNG")
    return {
        "not a picture": b"<svg onload=alert(1)>",
        "empty": b"",
        "cut": png(0)[:90],
        "flipped": png(0)[:45] + bytes([png(0)[45] ^ 1]) + png(0)[46:],
        "tiff": tiff.getvalue(),
        "bomb": bomb.getvalue(),
        "sixteen bits": deep.getvalue(),
    }


@pytest.mark.parametrize("what", sorted(hostile_pictures()))
def test_an_undecodable_image_is_named_and_nothing_is_written(workspace: Workspace, tmp_path: Path, what: str) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    shard(folder / "train-7.tar", ("good", {"png": png(1)}), ("bad", {"png": hostile_pictures()[what]}))
    with pytest.raises(DataError, match=r"train-7\.tar/bad"):
        stored(workspace, folder)
    assert not workspace.root.exists()


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"txt": b"no picture"}, r"sample 'a' has 0 pictures \(none\)"),
        ({"png": png(0), "jpg": png(0)}, r"sample 'a' has 2 pictures \(jpg, png\)"),
        ({"png": png(0), "json": b"{"}, "its .json cannot be read"),
        ({"png": png(0), "json": b"[1]"}, "not an object"),
        ({"png": png(0), "json": b'{"class_name": {"a": 1}}'}, "its class is not a line of at most 128"),
        ({"png": png(0), "json": b'{"class_name": "a\\u0000b"}'}, "its class is not a line of at most 128"),
        ({"png": png(0), "cls": b"x" * 129}, "its class is not a line of at most 128"),
        ({"png": png(0), "json": b" " * 70_000}, "at most 65536"),
        ({"png": png(0), "cls": b"\xff"}, "not UTF-8"),
    ],
)
def test_a_sample_that_is_not_one_picture_is_named(
    workspace: Workspace, tmp_path: Path, members: dict[str, bytes], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        stored(workspace, shard(tmp_path / "s.tar", ("a", members)))
    assert not workspace.root.exists()


def test_sources_that_are_none(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.png").write_bytes(png(0))
    for source, said in (
        ("no/such/place", "no such source; a folder of"),
        (tmp_path / "empty", "holds neither shards nor pictures"),
        (tmp_path / "flat", "lies in no class folder"),
        (archive(tmp_path / "none.tar"), "holds no picture"),
        ("torchvision:os", "torchvision has no such data set"),
        ("torchvision:NoSuch", "torchvision has no such data set"),
    ):
        with pytest.raises(DataError, match=said):
            stored(workspace, source)
    with pytest.raises(DataError, match="is right"):
        stored(workspace, "digits", name="../digits")
    with pytest.raises(DataError, match="has no field 'identity'"):
        stored(workspace, "digits", "identity")
    assert not workspace.root.exists()


def test_links_are_not_followed(workspace: Workspace, tmp_path: Path) -> None:
    root = picture_tree(tmp_path / "pictures", each=1)
    outside = picture_tree(tmp_path / "outside", each=1)
    (root / "circle" / "linked.png").symlink_to(outside / "star" / "person-6" / "000.png")
    (root / "linked").symlink_to(outside)
    assert stored(workspace, root).described["images"] == 4


def test_a_full_disk_leaves_nothing_behind(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = picture_tree(tmp_path / "pictures", each=2)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(Exception, match="the disk is full"):
        stored(workspace, root)
    assert snapshot(workspace.root) == {}


def test_damage_to_the_index_is_noticed(workspace: Workspace, tmp_path: Path) -> None:
    stored(workspace, picture_tree(tmp_path / "pictures", each=2))
    path = workspace.dataset("toys") / "index.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    with pytest.raises(DataError, match=r"index\.parquet: sha256 .* is not the one"):
        index.read(workspace.dataset("toys"))
    path.unlink()
    with pytest.raises(DataError, match="there is no such index"):
        index.read(workspace.dataset("toys"))
    with pytest.raises(DataError, match="unlearning ingest SOURCE --name nothing"):
        index.read(workspace.dataset("nothing"))


@pytest.mark.skipif(not (PACKS / "cifar10").is_dir(), reason="the pack ../shared/data/cifar10 is not on this machine")
def test_one_shard_of_cifar10(workspace: Workspace) -> None:
    described = stored(workspace, PACKS / "cifar10" / "cifar10-test-000000.tar.gz", name="cifar10").described
    assert described["splits"] == {"holdout": 5000}
    assert described["classes"]["cat"] == 500
    table = index.read(workspace.dataset("cifar10"))
    first = next(shards.samples(PACKS / "cifar10" / "cifar10-test-000000.tar.gz"))
    assert table["key"][0].as_py() == first.key
    assert table["sha256"][0].as_py() == digests.of_bytes(first.members["webp"].content)


@pytest.mark.skipif(not (PACKS / "orl-40").is_dir(), reason="the pack ../shared/data/orl-40 is not on this machine")
def test_the_people_of_orl(workspace: Workspace) -> None:
    described = stored(workspace, PACKS / "orl-40", "identity", "orl-40").described
    assert described["splits"] == {"train": 320, "holdout": 80}
    assert described["subjects"] == 40
    table = index.read(workspace.dataset("orl-40"))
    mine = table.filter(pc.equal(table["subject"], "s17"))
    assert len(mine) == 10
    assert ImageSet(mine, workspace, Data(image_size=48, channels=1))(torch.tensor([0, 9])).shape == (2, 1, 48, 48)
