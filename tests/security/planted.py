"""Copies of forgotten pictures, planted below a root in every form that a copy takes, and as many others beside them.

What one row says: how many were planted, how many the scan found, and how many it took wrongly for one.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from unlearning import digests
from unlearning.data import pictures, scanning, tombstones
from unlearning.data.tombstones import Tombstones
from unlearning.log import silent
from unlearning.workspace import Workspace

FOLDERS = (  # places that a run, a person or a tool writes to
    "data/faces/shards",
    "data/.partial/faces-31-deadbeef",
    "batches/b1/evaluation_report/figures",
    "batches/b7/interim_filter",
    "batches/.partial",
    "work/measured",
    "work/inbox-x1",
    "inbox/done",
    "inbox/refused",
    "proposals",
    "features/faces/auto",
    "models/faces-mae/versions/0",
    "mlflow/artifacts/faces-mae/1/artifacts",
    "dvc/cache/files/md5/3f",
    "dvc/remote/files/md5/3f",
    "launches",
    "openlineage",
    "notes of somebody/a folder, nobody/thought of",
)
Form = Callable[[Path, bytes, np.random.Generator], None]


def picture(rng: np.random.Generator) -> Image.Image:
    """One that no other draw gives."""
    width, height = (int(side) for side in rng.integers(6, 12, 2))
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """Its bytes in one format."""
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def _decoded(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def _lossless(form: str, ending: str, **options: Any) -> Form:
    def write(path: Path, content: bytes, rng: np.random.Generator) -> None:
        path.with_suffix(ending).write_bytes(encoded(_decoded(content), form, **options))

    return write


def _as_is(path: Path, content: bytes, rng: np.random.Generator) -> None:
    path.write_bytes(content)  # whatever it is called


def _tar(path: Path, content: bytes, rng: np.random.Generator) -> None:
    path.with_suffix(".tar").write_bytes(_archived(content, "w"))


def _packed_tar(path: Path, content: bytes, rng: np.random.Generator) -> None:
    path.with_suffix(str(rng.choice([".tar.gz", ".tgz", ".backup"]))).write_bytes(_archived(content, "w:gz"))


def _archived(content: bytes, mode: Any) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as tar:
        for name, member in (("readme.txt", b"nothing"), ("a/b.png", content), ("c.json", b"{}")):
            info = tarfile.TarInfo(name)
            info.size = len(member)
            tar.addfile(info, io.BytesIO(member))
    return sink.getvalue()


def _zipped(name: str, content: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("empty.txt", "")
        archive.writestr(name, content)
    return sink.getvalue()


def _zip(path: Path, content: bytes, rng: np.random.Generator) -> None:
    path.with_suffix(".zip").write_bytes(_zipped("inner.bmp", encoded(_decoded(content), "BMP")))


def _tar_in_zip(path: Path, content: bytes, rng: np.random.Generator) -> None:
    path.with_suffix(".zip").write_bytes(_zipped("shard.tar", _archived(content, "w")))


def _zip_in_tar(path: Path, content: bytes, rng: np.random.Generator) -> None:
    path.with_suffix(".tar").write_bytes(_archived(_zipped("x.png", content), "w"))


def _gzip(path: Path, content: bytes, rng: np.random.Generator) -> None:
    path.with_suffix(".gz").write_bytes(gzip.compress(content))


def _json(path: Path, content: bytes, rng: np.random.Generator) -> None:
    text = base64.b64encode(content).decode()
    text = text.replace("/", "\\/") if rng.random() < 0.5 else text
    path.with_suffix(".json").write_text(f'{{"request": 7, "picture": "{text}", "after": [1, 2]}}')


def _json_lines(path: Path, content: bytes, rng: np.random.Generator) -> None:
    lines = [{"n": 1}, {"n": 2, "picture": base64.urlsafe_b64encode(content).decode().rstrip("=")}, {"n": 3}]
    path.with_suffix(".jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _html(path: Path, content: bytes, rng: np.random.Generator) -> None:
    data = base64.b64encode(encoded(_decoded(content), "PNG", compress_level=9)).decode()
    path.with_suffix(".html").write_text(f'<p>before</p><img src="data:image/png;base64,{data}" alt="x">')


def _mail(path: Path, content: bytes, rng: np.random.Generator) -> None:
    head = "Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n"
    path.with_suffix(".eml").write_text(head + base64.encodebytes(content).decode() + "\n--end--\n")


def _parquet(path: Path, content: bytes, rng: np.random.Generator) -> None:
    cells = [b"other", content, None]
    kind = int(rng.integers(3))
    if kind == 0:
        table = pa.table({"picture": pa.array(cells, pa.binary()), "n": [1, 2, 3]})
    elif kind == 1:  # as data sets of the Hugging Face hub have it
        rows = [{"bytes": cell, "path": "x.png"} for cell in cells]
        table = pa.table({"image": pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))})
    else:
        table = pa.table({"pictures": pa.array([[b"other"], [b"", content], []], pa.list_(pa.large_binary()))})
    pq.write_table(table, path.with_suffix(".parquet"))


def _sqlite(path: Path, content: bytes, rng: np.random.Generator) -> None:
    with closing(sqlite3.connect(path.with_suffix(".db"))) as db, db:
        db.execute('CREATE TABLE "two words" (id INTEGER, body BLOB, note TEXT)')
        text = base64.b64encode(content).decode()
        row = (1, content, "a note") if rng.random() < 0.5 else (1, None, f'{{"picture": "{text}"}}')
        db.execute('INSERT INTO "two words" VALUES (?, ?, ?)', row)


FORMS: dict[str, Form] = {
    "as it is": _as_is,
    "png": _lossless("PNG", ".png", optimize=True),
    "bmp": _lossless("BMP", ".bmp"),
    "webp, lossless": _lossless("WEBP", ".webp", lossless=True),
    "ppm": _lossless("PPM", ".ppm"),
    "tar": _tar,
    "tar, packed": _packed_tar,
    "zip": _zip,
    "tar in zip": _tar_in_zip,
    "zip in tar": _zip_in_tar,
    "gzip": _gzip,
    "json": _json,
    "json lines": _json_lines,
    "html": _html,
    "mail": _mail,
    "parquet": _parquet,
    "sqlite": _sqlite,
}


def plant(root: Path, count: int, rng: np.random.Generator) -> tuple[list[tuple[str, Path, bytes]], int]:
    """`count` pictures, each in one form somewhere below `root`: (form, its folder, its first bytes)."""
    planted = []
    for number in range(count):
        name = list(FORMS)[number % len(FORMS)]
        home = root / FOLDERS[int(rng.integers(len(FOLDERS)))] / f"{rng.integers(2**40):010x}"
        home.mkdir(parents=True)
        content = encoded(picture(rng), "PNG")
        FORMS[name](home / f"copy{number}", content, rng)
        planted.append((name, home, content))
    return planted, len(planted)


def known(contents: Iterator[bytes]) -> Tombstones:
    """Tombstones of these pictures, under a key of the test."""
    key, tokens = bytes(32), set[bytes]()
    for content in contents:
        tokens.add(tombstones.token(key, "bytes", digests.of_bytes(content)))
        tokens.add(tombstones.token(key, "pixels", pictures.pixel_sha256(pictures.decode(content, "planted"))))
    return Tombstones(key, frozenset(tokens), np.empty((0, 8), np.uint8), 0)


def campaign(root: Path, copies: int, seed: int = 0) -> dict[str, Any]:
    """Plant, scan: {tried, found, others, false, by_form}. `others` are pictures that nobody asked to forget."""
    rng = np.random.default_rng(seed)
    planted, _ = plant(root, copies, rng)
    beside, _ = plant(root, copies, rng)
    found = scanning.scan([Workspace(root).root], known(content for _, _, content in planted), silent)
    hit = {path for one in found.hits for path in one.path.parents}
    missed = [name for name, home, _ in planted if home not in hit]
    return {
        "tried": copies,
        "found": copies - len(missed),
        "others": copies,
        "false": sum(home in hit for _, home, _ in beside),
        "missed": sorted(set(missed)),
        "files": found.files,
    }


def rows(copies: int = 1_000) -> list[dict[str, Any]]:
    """For the table of what was tried: one row."""
    with TemporaryDirectory() as home:
        said = campaign(Path(home), copies)
    other = copies - said["found"] + said["false"]
    return [{"row": "planted copies of forgotten images", "tried": copies, "found": said["found"], "other": other}]
