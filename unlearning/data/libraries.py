"""Data sets that a Python package carries or fetches: scikit-learn's digits, torchvision's, Hugging Face's."""

from __future__ import annotations

import importlib
import inspect
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

from PIL import Image

from unlearning import digests
from unlearning.data.sources import Item, Split, as_png, plain
from unlearning.errors import DataError

DOWNLOAD = "unlearning-download-"  # a temporary folder's name begins so


class Digits:
    """scikit-learn's digits: 1,797 scanned handwritten digits, 8x8 grey. In the package itself: no network."""

    def __init__(self, subject_from: str) -> None:
        self._subject_from = _none_or_class(subject_from, "digits")
        load_digits = importlib.import_module("sklearn.datasets").load_digits
        bunch = load_digits()
        self._pixels = (bunch.images * (255 / 16) + 0.5).astype("uint8")  # [N, 8, 8], stored as 0 .. 16
        self._labels = [str(label) for label in bunch.target.tolist()]

    @property
    def facts(self) -> dict[str, Any]:
        """The sha256 of pixels and labels."""
        content = digests.of_bytes(self._pixels.tobytes() + "".join(self._labels).encode())
        return {"kind": "digits", "subject_from": self._subject_from, "sha256": content}

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[Item]:
        for number, (pixels, label) in enumerate(zip(self._pixels, self._labels, strict=True)):
            subject = label if self._subject_from == "class" else ""
            yield Item("", "png", as_png(Image.fromarray(pixels)), label, subject, f"load_digits {number}", None, False)


class TorchVision:
    """A classification data set of torchvision by name (`CIFAR10`, `SVHN`, …), fetched where the network allows."""

    def __init__(self, name: str, subject_from: str) -> None:
        self._name, self._subject_from = name, _none_or_class(subject_from, f"torchvision:{name}")
        module = importlib.import_module("torchvision.datasets")
        kind = getattr(module, name, None) if name in module.__all__ else None
        accepted = inspect.signature(kind).parameters if inspect.isclass(kind) else {}
        if "download" not in accepted or not accepted.keys() & {"train", "split"}:
            raise DataError(
                f"torchvision:{name}: torchvision has no such data set with a train and a test part to download; "
                "CIFAR10, MNIST or SVHN, say, is right"
            )
        self._version = importlib.import_module("torchvision").__version__
        choices: dict[Split, dict[str, Any]] = {"train": {"split": "train"}, "holdout": {"split": "test"}}
        if "train" in accepted:
            choices = {"train": {"train": True}, "holdout": {"train": False}}
        self._folder = tempfile.mkdtemp(prefix=DOWNLOAD)  # kept until the second walk is done
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._parts = {split: self._fetch(kind, choice) for split, choice in choices.items()}

    @property
    def facts(self) -> dict[str, Any]:
        """Name and package version: torchvision checks what it fetches against its own checksums."""
        return {
            "kind": "torchvision",
            "name": self._name,
            "version": self._version,
            "subject_from": self._subject_from,
        }

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts.values())

    def __iter__(self) -> Iterator[Item]:
        for split, part in self._parts.items():
            names = getattr(part, "classes", None)
            for number in range(len(part)):
                image, target = part[number]
                label = plain(names[target] if names else int(target), "class", f"{self._name} {split} {number}")
                subject = label if self._subject_from == "class" else ""
                yield Item("", "png", as_png(image), label, subject, f"{self._name} {split} {number}", split, False)

    def _fetch(self, kind: Any, choice: dict[str, Any]) -> Any:
        try:
            return kind(self._folder, download=True, **choice)
        except Exception as error:  # each data set of torchvision fails in its own way
            raise DataError(_unreachable(f"torchvision:{self._name}", error)) from None


class HuggingFace:
    """A data set of the Hugging Face hub by name (`hf:OWNER/NAME` or `…@REVISION`), through the `datasets` package."""

    def __init__(self, name: str, subject_from: str) -> None:
        self._name, _, revision = name.partition("@")
        self._revision, self._subject_from = revision or None, subject_from
        try:
            self._library = importlib.import_module("datasets")
        except ImportError:
            raise DataError(
                f"hf:{name}: the package `datasets` is not installed here; install it, or export the data set to a "
                "folder of shards"
            ) from None
        try:
            self._parts = self._library.load_dataset(self._name, revision=self._revision)
        except Exception as error:  # network, authorisation, scripts: all end here
            raise DataError(_unreachable(f"hf:{name}", error)) from None

    @property
    def facts(self) -> dict[str, Any]:
        """Name, revision and the counts of each part."""
        return {
            "kind": "huggingface",
            "name": self._name,
            "revision": self._revision,
            "subject_from": self._subject_from,
            "parts": {name: len(part) for name, part in self._parts.items()},
        }

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts.values())

    def __iter__(self) -> Iterator[Item]:
        for name, part in self._parts.items():
            split: Split = "train" if name == "train" else "holdout"
            features = part.features
            images = [field for field, kind in features.items() if type(kind).__name__ == "Image"]
            labels = [field for field, kind in features.items() if type(kind).__name__ == "ClassLabel"]
            if len(images) != 1:
                raise DataError(f"hf:{self._name}: {len(images)} image columns; one is right")
            stored = part.cast_column(images[0], self._library.Image(decode=False))  # the original bytes
            for number, row in enumerate(stored):
                label = features[labels[0]].int2str(row[labels[0]]) if labels else ""
                yield self._item(row, images[0], label, split, f"{self._name} {name} {number}")

    def _item(self, row: dict[str, Any], column: str, label: str, split: Split, origin: str) -> Item:
        content = row[column]["bytes"]
        if not content:
            raise DataError(f"hf:{origin}: the picture is not stored in the data set itself")
        if self._subject_from not in ("none", "class") and self._subject_from not in row:
            raise DataError(f"hf:{origin}: there is no column {self._subject_from!r}; columns: {', '.join(row)}")
        subject = {"none": "", "class": label}.get(self._subject_from)
        if subject is None:
            subject = plain(row[self._subject_from], "subject", f"hf:{origin}")
        extension = _EXTENSIONS.get(content[:3], "png")
        return Item("", extension, content, label, subject, origin, split)


_EXTENSIONS = {b"\xff\xd8\xff": "jpg", b"RIF": "webp"}  # by the first bytes; the decoder looks for itself


def _none_or_class(subject_from: str, where: str) -> str:
    if subject_from not in ("none", "class"):
        raise DataError(f"{where}: has no field {subject_from!r} to take the subject from; class or none is right")
    return subject_from


def _unreachable(where: str, error: Exception) -> str:
    said = " ".join(str(error).split())[:160]
    return (
        f"{where}: cannot be fetched ({type(error).__name__}: {said}); check the name and the network, or bring shards"
    )
