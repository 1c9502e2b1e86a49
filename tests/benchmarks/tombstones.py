"""`python -m tests.benchmarks.tombstones [--source DIR]`: is a forgotten image known again, however it is encoded?

Of the images of a source every other one is forgotten; each is then encoded anew and asked about. The rest, which were
never forgotten, say how often a perceptual hash is mistaken. Without --source: pictures made from nothing.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from unlearning.data import index, pictures, sources, tombstones
from unlearning.log import silent
from unlearning.process import machine
from unlearning.verbs import ingest
from unlearning.workspace import Workspace

RESULTS = Path(__file__).with_name("results")
WITHIN = (0, 4, 6, 8, 10)  # bits


def _saved(form: str, **options: object) -> Callable[[Image.Image], bytes]:
    def encode(image: Image.Image) -> bytes:
        sink = io.BytesIO()
        image.save(sink, form, **options)
        return sink.getvalue()

    return encode


def _smaller(image: Image.Image) -> bytes:
    size = (max(1, round(image.width * 0.9)), max(1, round(image.height * 0.9)))
    return _saved("PNG")(image.resize(size, Image.Resampling.BICUBIC))


ENCODINGS: dict[str, Callable[[Image.Image], bytes]] = {
    "png": _saved("PNG"),
    "bmp": _saved("BMP"),
    "webp, lossless": _saved("WEBP", lossless=True),
    "jpeg 90": _saved("JPEG", quality=90),
    "jpeg 75": _saved("JPEG", quality=75),
    "webp 80": _saved("WEBP", quality=80),
    "90 % of its size": _smaller,
}


def _drawn(home: Path, count: int) -> Path:
    """Pictures of 64 pixels with shapes of many sizes."""
    (home / "all").mkdir(parents=True)
    for seed in range(count):
        rng, canvas = np.random.default_rng(seed), np.zeros((64, 64, 3))
        for cells in (3, 6, 12, 24):
            coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
            canvas += np.asarray(coarse.resize((64, 64), Image.Resampling.BICUBIC), dtype=float) / cells
        canvas = (canvas - canvas.min()) / (canvas.max() - canvas.min()) * 255
        Image.fromarray(canvas.astype(np.uint8)).save(home / "all" / f"{seed:05d}.png")
    return home


def _rates(workspace: Workspace, images: list[Image.Image]) -> Iterator[dict[str, object]]:
    """A row an encoding: the share known again with each perceptual bound, of the forgotten and of all others."""
    gone = tombstones.read(workspace)
    assert gone is not None
    for name, encode in ENCODINGS.items():
        exact, near = [], []
        for image in images:
            again = pictures.decode(encode(image), name)
            tier = tombstones.Tombstones(gone.key, gone.tokens, gone.near[:0], 0).tier(
                "", pictures.pixel_sha256(again), again
            )
            exact.append(tier is not None)
            near.append(int(tombstones.distances(tombstones.perceptual_hash(again), gone.near).min()))
        forgotten, others = np.arange(len(images)) % 2 == 0, np.arange(len(images)) % 2 == 1
        yield {
            "encoding": name,
            "known by pixels": float(np.mean(np.array(exact)[forgotten])),
            "others taken for forgotten by pixels": float(np.mean(np.array(exact)[others])),
            "known by perceptual hash": {bits: float(np.mean(np.array(near)[forgotten] <= bits)) for bits in WITHIN},
            "others taken for forgotten": {bits: float(np.mean(np.array(near)[others] <= bits)) for bits in WITHIN},
        }


def main() -> None:
    """Print a row an encoding and keep all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", help="as `unlearning ingest` takes it; default: drawn pictures")
    parser.add_argument("--images", type=int, default=2_000, help="how many, half of them forgotten (%(default)s)")
    parser.add_argument("--name", default="drawn", help="of the source, in the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        workspace = Workspace(home / "var")
        address = options.source or str(_drawn(home / "pictures", options.images))
        ingest.run(address, "all", workspace, silent)
        wanted = {
            row: number for number, row in enumerate(index.read(workspace.dataset("all"))["pixel_sha256"].to_pylist())
        }
        images, places = [], []
        for item in sources.opened(address):
            image = pictures.as_rgb(pictures.decode(item.content, item.origin))
            place = wanted.pop(pictures.pixel_sha256(image), None)
            if place is not None:
                images.append(image)
                places.append(place)
            if len(images) == options.images:
                break
        tombstones.add(workspace, "forgotten", index.read(workspace.dataset("all")).take(places[::2]), within=0)
        found = list(_rates(workspace, images))
    for row in found:
        sys.stdout.write(f"{json.dumps(row)}\n")
    said = {
        "schema": "benchmark/1",
        "source": options.name,
        "images": len(images),
        "encodings": found,
        "machine": machine(),
    }
    (RESULTS / f"tombstones-{options.name}.json").write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
