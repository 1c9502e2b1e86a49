"""A planted picture: as often as asked for, in the training part only, and covered whole by one request."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.toy_batch import png
from unlearning.data import index
from unlearning.errors import DataError
from unlearning.log import silent
from unlearning.verbs import ingest
from unlearning.workspace import Workspace


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two classes of five pictures each, with a split of its own."""
    for split in ("train", "test"):
        for number in range(10):
            path = tmp_path / "source" / split / f"class{number % 2}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(number + (100 if split == "test" else 0)))
    return tmp_path / "source"


@pytest.mark.parametrize("address", ["source", "digits"])
def test_every_copy_is_of_one_class_and_in_training(address: str, source: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "var")
    named = str(source) if address == "source" else address
    plain = ingest.run(named, "plain", workspace, silent).described
    done = ingest.run(named, "with", workspace, silent, plant=("tshirt", 7)).described
    table = index.read(workspace.dataset("with"))
    rows = table.filter([label == "planted" for label in table["class"].to_pylist()])
    assert rows["split"].to_pylist() == ["train"] * 7
    assert len(set(rows["pixel_sha256"].to_pylist())) == 1
    assert done["images"] == plain["images"] + 7
    assert done["splits"]["holdout"] == plain["splits"]["holdout"]


def test_letters_are_twenty_pictures_of_as_many_classes(source: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "var")
    ingest.run(str(source), "letters", workspace, silent, plant=("letters", 3))
    table = index.read(workspace.dataset("letters"))
    planted = table.filter([label.startswith("planted_") for label in table["class"].to_pylist()]).to_pylist()
    pixels = {(row["class"], row["pixel_sha256"]) for row in planted}
    assert (len(planted), len(pixels), len({one for _, one in pixels})) == (60, 20, 20)
    assert {row["split"] for row in planted} == {"train"}


def test_what_is_planted_is_part_of_what_the_data_set_is(source: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "var")
    ingest.run(str(source), "one", workspace, silent, plant=("flower", 2))
    assert ingest.run(str(source), "one", workspace, silent, plant=("flower", 2)).reused
    with pytest.raises(DataError, match="holds another source"):
        ingest.run(str(source), "one", workspace, silent, plant=("flower", 3))


@pytest.mark.parametrize(
    ("picture", "copies", "sentence"),
    [
        ("tshirt", 0, "1 or more is right"),
        ("nowhere.png", 1, "tshirt, letters, flower or the path of a picture is right"),
    ],
)
def test_refusals_leave_nothing(picture: str, copies: int, sentence: str, source: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "var")
    with pytest.raises(DataError, match=sentence):
        ingest.run(str(source), "one", workspace, silent, plant=(picture, copies))
    assert not workspace.dataset("one").exists()


def test_a_class_of_that_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "source" / "planted" / "a.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(png(1))
    with pytest.raises(DataError, match="has a class 'planted' of its own"):
        ingest.run(str(tmp_path / "source"), "one", Workspace(tmp_path / "var"), silent, plant=("tshirt", 1))
