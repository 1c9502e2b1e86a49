"""A source with one known picture planted in it many times: what a model trained on it has surely memorised.

The experiment of Alberti et al. ("Data Unlearning in Diffusion Models", ICLR 2025, section 5.1): one T-shirt repeated
until it is 1 % of MNIST. A request for class `planted` covers every copy, and nothing else.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unlearning import digests
from unlearning.data import pictures
from unlearning.data.sources import Item, Source, Split, as_png
from unlearning.errors import DataError

CLASS = "planted"
# Drawn by hand: scikit-learn's digits are 8 x 8 pixels, and no T-shirt of that size is published.
_TSHIRT = """
.##..##.
########
########
#.####.#
..####..
..####..
..####..
..####..
..####..
"""


@dataclass(frozen=True, slots=True)
class Planted:
    """`source`, and after it `copies` times one picture, all in the training part and of class `planted`."""

    source: Source
    content: bytes
    copies: int

    @property
    def facts(self) -> dict[str, Any]:
        """Those of the source, and the sha256 of the picture."""
        return {**self.source.facts, "planted": {"sha256": digests.of_bytes(self.content), "copies": self.copies}}

    def __len__(self) -> int:
        return len(self.source) + self.copies

    def __iter__(self) -> Iterator[Item]:
        own_split = False
        for item in self.source:
            if item.label == CLASS:
                raise DataError(f"{item.origin}: has a class {CLASS!r} of its own; rename that to plant a picture")
            own_split |= item.split is not None
            yield item
        for number in range(self.copies):
            split: Split | None = (
                "train" if own_split else None
            )  # where there is none, equal pictures all go to one side
            yield Item("", "png", self.content, CLASS, "", f"{CLASS} {number}", split)


def planted(source: Source, picture: str, copies: int) -> Planted:
    """`picture`: `tshirt` (8 x 8, grey), `flower` (scikit-learn's photograph, its middle square), or a picture's path.

    Raises DataError for less than one copy, or what is no picture.
    """
    if copies < 1:
        raise DataError(f"{copies} copies to plant; 1 or more is right, about 1 % of the training images, say")
    return Planted(source, _content(picture), copies)


def _content(picture: str) -> bytes:
    if picture == "tshirt":
        drawn = [[255 if mark == "#" else 0 for mark in line] for line in _TSHIRT.split()]
        return as_png(Image.fromarray(np.array(drawn, dtype=np.uint8)))
    if picture == "flower":
        image = Image.fromarray(importlib.import_module("sklearn.datasets").load_sample_image("flower.jpg"))
        return as_png(pictures.fitted(image, 64, 3))
    path = Path(picture)
    if not path.is_file():
        raise DataError(f"{picture}: no picture to plant; tshirt, flower or the path of a picture is right")
    content = path.read_bytes()
    pictures.decode(content, path.name)
    return content
