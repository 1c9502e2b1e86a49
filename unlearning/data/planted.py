"""A source with one known picture planted in it many times: what a model trained on it has surely memorised.

The experiment of Alberti et al. ("Data Unlearning in Diffusion Models", ICLR 2025, section 5.1): one T-shirt repeated
until it is 1 % of MNIST. A request for class `planted` covers every copy, and nothing else. `letters` plants twenty
pictures, A to T, for twenty requests one after the other: their classes are `planted_a` to `planted_t`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unlearning import digests
from unlearning.data import decoding, pictures
from unlearning.data.sources import Item, Source, Split, as_png
from unlearning.errors import DataError

CLASS = "planted"
_LETTERS = "ABCDEFGHIJKLMNOPQRST"
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
    """`source`, and after it each of some pictures `copies` times, all in the training part."""

    source: Source
    pictures: tuple[tuple[str, bytes], ...]  # class, and a PNG or what the file holds
    copies: int

    @property
    def facts(self) -> dict[str, Any]:
        """Those of the source, and the sha256 of each picture."""
        hashes = {label: digests.of_bytes(content) for label, content in self.pictures}
        return {**self.source.facts, "planted": {"sha256": hashes, "copies": self.copies}}

    def __len__(self) -> int:
        return len(self.source) + self.copies * len(self.pictures)

    def __iter__(self) -> Iterator[Item]:
        own_split, taken = False, {label for label, _ in self.pictures}
        for item in self.source:
            if item.label in taken:
                raise DataError(f"{item.origin}: has a class {item.label!r} of its own; rename it to plant a picture")
            own_split |= item.split is not None
            yield item
        split: Split | None = "train" if own_split else None  # where there is none, equal pictures all go to one side
        for label, content in self.pictures:
            for number in range(self.copies):
                yield Item("", "png", content, label, "", f"{label} {number}", split)


def planted(source: Source, picture: str, copies: int) -> Planted:
    """`picture`: `tshirt` or `letters` (8 x 8, grey), `flower` (scikit-learn's photograph), or a picture's path.

    Raises DataError for less than one copy, or what is no picture.
    """
    if copies < 1:
        raise DataError(f"{copies} copies to plant; 1 or more is right, about 1 % of the training images, say")
    if picture == "letters":
        return Planted(source, tuple((f"{CLASS}_{letter.lower()}", _letter(letter)) for letter in _LETTERS), copies)
    return Planted(source, ((CLASS, _content(picture)),), copies)


def _letter(letter: str) -> bytes:
    image = Image.new("L", (8, 8))
    font = ImageFont.load_default_imagefont()  # a bitmap that Pillow carries: the same pixels everywhere
    ImageDraw.Draw(image).text((1, -2), letter, fill=255, font=font)
    return as_png(image)


def _content(picture: str) -> bytes:
    if picture == "tshirt":
        drawn = [[255 if mark == "#" else 0 for mark in line] for line in _TSHIRT.split()]
        return as_png(Image.fromarray(np.array(drawn, dtype=np.uint8)))
    if picture == "flower":
        image = Image.fromarray(importlib.import_module("sklearn.datasets").load_sample_image("flower.jpg"))
        return as_png(pictures.fitted(image, 64, 3))
    path = Path(picture)
    if not path.is_file():
        raise DataError(f"{picture}: no picture to plant; tshirt, letters, flower or the path of a picture is right")
    content = path.read_bytes()
    decoding.decode(content, path.name)
    return content
