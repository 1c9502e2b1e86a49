"""Data sets by name: what they become where they can be fetched, and the sentence where they cannot."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torchvision.datasets
from PIL import Image

from tests.toy_batch import png
from unlearning.data import index
from unlearning.errors import DataError
from unlearning.log import silent
from unlearning.verbs import ingest
from unlearning.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "var")


class Colours:
    """A data set in torchvision's manner: pixels and a number."""

    classes = ("red", "blue")

    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        assert Path(root).is_dir()
        assert download
        self.count = 4 if train else 2

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[Image.Image, int]:
        return Image.new("RGB", (4, 4), (10 * number, self.count, 0)), number % 2


class Numbers(Colours):
    """Another manner: parts by name, and no class names."""

    classes = None  # type: ignore[assignment]

    def __init__(self, root: str, split: str = "train", download: bool = False) -> None:
        super().__init__(root, split == "train", download)


class Unreachable(Colours):
    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        raise RuntimeError("connection refused")


@pytest.mark.parametrize(("kind", "labels"), [(Colours, {"red", "blue"}), (Numbers, {"0", "1"})])
def test_a_torchvision_data_set_by_name(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, kind: type[Colours], labels: set[str]
) -> None:
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", kind)
    done = ingest.run("torchvision:CIFAR10", "colours", workspace, silent, "class")
    assert done.described["splits"] == {"train": 4, "holdout": 2}
    table = index.read(workspace.dataset("colours"))
    assert set(table["class"].to_pylist()) == set(table["subject"].to_pylist()) == labels
    assert ingest.run("torchvision:CIFAR10", "colours", workspace, silent, "class").reused


def test_what_cannot_be_fetched_says_so(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Unreachable)
    with pytest.raises(DataError, match=r"torchvision:CIFAR10: cannot be fetched \(RuntimeError: connection refused\)"):
        ingest.run("torchvision:CIFAR10", "colours", workspace, silent)
    assert not workspace.root.exists()


class Part:
    """A part of a data set in Hugging Face's manner."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        label = type("ClassLabel", (), {"int2str": lambda self, number: ["red", "blue"][number]})
        self.features = {"picture": type("Image", (), {})(), "label": label(), "owner": object()}

    def cast_column(self, name: str, kind: Any) -> Part:
        assert (name, kind.decode) == ("picture", False)
        return self

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)


def hub(monkeypatch: pytest.MonkeyPatch, parts: dict[str, Part] | Exception) -> None:
    module = ModuleType("datasets")

    def load_dataset(name: str, revision: str | None) -> dict[str, Part]:
        assert (name, revision) == ("owner/colours", "v1")
        if isinstance(parts, Exception):
            raise parts
        return parts

    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    module.Image = lambda decode: SimpleNamespace(decode=decode)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)


def rows(first: int, count: int) -> list[dict[str, Any]]:
    return [{"picture": {"bytes": png(first + n)}, "label": n % 2, "owner": f"o{n}"} for n in range(count)]


def test_a_hub_data_set_by_name_keeps_its_own_bytes(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, {"train": Part(rows(0, 4)), "validation": Part(rows(9, 2))})
    done = ingest.run("hf:owner/colours@v1", "colours", workspace, silent, "owner")
    assert done.described["splits"] == {"train": 4, "holdout": 2}
    found = index.read(workspace.dataset("colours")).to_pylist()
    assert [(row["class"], row["subject"]) for row in found[:2]] == [("red", "o0"), ("blue", "o1")]
    assert found[0]["bytes"] == len(png(0))


def test_a_hub_that_is_not_there(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="`datasets` is not installed"):
        ingest.run("hf:owner/colours@v1", "colours", workspace, silent)
    hub(monkeypatch, ConnectionError("no route"))
    with pytest.raises(DataError, match=r"hf:owner/colours@v1: cannot be fetched \(ConnectionError: no route\)"):
        ingest.run("hf:owner/colours@v1", "colours", workspace, silent)
    hub(monkeypatch, {"train": Part([{"picture": {"bytes": None}, "label": 0, "owner": "o"}])})
    with pytest.raises(DataError, match="not stored in the data set itself"):
        ingest.run("hf:owner/colours@v1", "colours", workspace, silent)
    hub(monkeypatch, {"train": Part(rows(0, 1))})
    with pytest.raises(DataError, match="there is no column 'person'; columns: picture, label, owner"):
        ingest.run("hf:owner/colours@v1", "colours", workspace, silent, "person")
    assert not workspace.root.exists()
