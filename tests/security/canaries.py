"""Canaries: a unique word in every field of a request that may hold one, a unique picture; who sees them afterwards?

A vault may: the ledger, what was sealed and resolved from it, the inbox, the data set, and resumable work. Nothing else
does: not MLflow, not Dagster's event log, not lineage events, DVC's files, logs, reports, or temporary folders.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
from PIL import Image

from tests.pipelines.line import Line
from tests.pipelines.same_process import SameProcess
from tests.toy_batch import request_body, request_id
from unlearning.data import pictures, scanning, tombstones
from unlearning.data.tombstones import Tombstones
from unlearning.log import silent
from unlearning.verbs import ingest, intake
from unlearning.workspace import Workspace

VAULT = (  # below the root: personal data may lie here, and here alone
    "ledger.sqlite",
    "keys",
    "data",
    "work",
    "inbox",
    "proposals",
    "tombstones",
    "batches/*/deletion_requests",
    "batches/*/forget_manifest",
    "batches/*/retain_proxy_set",
    "batches/*/evaluation_report/*.parquet",  # lines by image: kept from MLflow, taken out by a purge
)

REPOSITORY = Path(__file__).resolve().parents[2]
# Field -> its canary. A class that exists is a word of the data set, which its report uses: the canary names none.
WORDS = {
    "controller_id": "canary-controller-4b1d",
    "class": "canary_class_81f3",
    "subject": "canary_person_5c07",
    "key": "canary_key_93ae",
    "file": "canary_file_f00d",
    "approved_by": "canary-role-77b2",
}


@dataclass(frozen=True)
class Ran:
    """One batch that went through, and what its processes said."""

    home: Path
    words: Mapping[str, bytes]  # of a sort: what must be seen nowhere
    spoken: bytes  # standard output and error
    gone: Tombstones
    storage: Path  # Dagster's own
    temporary: Path


def picture() -> bytes:
    """The canary picture: of one mean, so that a small model can draw it, and of pixels that no other has."""
    pixels = np.random.default_rng(0xCA9A).integers(90, 110, (8, 8, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def source(home: Path) -> Path:
    """Eight people; one of them and her picture's file are canaries."""
    for person in range(8):
        subject = WORDS["subject"] if person == 7 else f"person-{person}"
        folder = home / "pictures" / f"class-{person // 2}" / subject
        folder.mkdir(parents=True)
        for number in range(5):
            rng, sink = np.random.default_rng([person, number]), io.BytesIO()
            Image.fromarray(rng.integers(40, 60, (8, 8, 3), dtype=np.uint8) + np.uint8(20 * person)).save(sink, "PNG")
            (folder / f"{number}.png").write_bytes(sink.getvalue())
    (folder / f"{WORDS['file']}.png").write_bytes(picture())
    return home / "pictures"


def requests() -> list[dict[str, Any]]:
    """A request by every selector; key and class match nothing, and are words that somebody wrote all the same."""
    sha256, pixels = _hashes()
    by = [
        {"subject": WORDS["subject"]},
        {"content_sha256": sha256},
        {"pixel_sha256": pixels},
        {"sample_key": WORDS["key"]},
        {"class": WORDS["class"], "approved_by": WORDS["approved_by"]},
    ]
    told = {"controller_id": WORDS["controller_id"], "goal": "never_seen"}
    return [request_body(request_id=request_id(number), selectors=[one], **told) for number, one in enumerate(by, 1)]


def _hashes() -> tuple[str, str]:
    content = picture()
    return hashlib.sha256(content).hexdigest(), pictures.pixel_sha256(pictures.decode(content, "the canary"))


def run(repository: Path, home: Path) -> Ran:
    """Ingest, file, and take one batch through the whole graph, with everything it says caught."""
    workspace, spoken = Workspace(home / "var"), io.StringIO()
    temporary, storage = home / "temporary", home / "dagster"
    for folder in (temporary, storage):
        folder.mkdir()
    before = tempfile.tempdir
    tempfile.tempdir = str(temporary)
    try:
        with _caught(home / "spoken") as told, contextlib.redirect_stdout(spoken), contextlib.redirect_stderr(spoken):
            ingest.run(str(source(home)), "toys", workspace, silent, "folder")
            letter = workspace.root / "inbox" / f"{WORDS['file']}.jsonl"  # what a controller calls its file, too
            letter.parent.mkdir()
            letter.write_text("".join(json.dumps(body) + "\n" for body in requests()))
            assert intake.take_in(workspace, settle_s=0).filed == len(requests())
            with dg.DagsterInstance.local_temp(str(storage)) as instance:
                line = Line(home, repository / "params.yaml", instance)
                done = line.run("b1", compute=SameProcess(), **SHORT)
                assert done.success
    finally:
        tempfile.tempdir = before
    sha256, pixels = _hashes()
    # Who filed it, and the role that approved it, are no data of a person: alarms and receipts name controllers.
    words = {name: word.encode() for name, word in WORDS.items() if name not in ("controller_id", "approved_by")}
    words |= {"sha256": sha256.encode(), "pixel_sha256": pixels.encode()}
    words["base64"] = base64.b64encode(picture())[16:80]
    gone = Tombstones(bytes(32), frozenset(_tokens(sha256, pixels)), np.empty((0, 8), np.uint8), 0)
    return Ran(home, words, told() + spoken.getvalue().encode(), gone, storage, temporary)


SHORT: dict[str, Any] = {
    "data.image_size": 8,
    "generator": {"kind": "mae", "size": "tiny", "width": 24, "depth": 1},
    "original": {"steps": 12, "batch_size": 16, "learning_rate": 3e-3, "save_every": 50},
    "unlearn.budget": {"steps": 6, "batch_size": 8, "learning_rate": 1e-3, "save_every": 50},
    "evaluate.seeds": [0],
    "evaluate.metrics": [{"kind": "mse"}],
    "evaluate.siblings": [],
    "evaluate.bootstrap": 100,
    "evaluate.max_images": 40,
    "gates.forgetting_at_least": {"value": -9, "source": "a test of words, not of forgetting"},
    "gates.retention_at_least": {"value": -9, "source": "a test of words, not of forgetting"},
    "gates.reference_distance_at_most": {"value": 99, "source": "a test of words, not of forgetting"},
    "report": {"show_forget_images": False, "pictures": 4},
}


def _tokens(sha256: str, pixels: str) -> Iterator[bytes]:
    yield tombstones.token(bytes(32), "bytes", sha256)
    yield tombstones.token(bytes(32), "pixels", pixels)


@contextlib.contextmanager
def _caught(path: Path) -> Iterator[Any]:
    """What is written to the descriptors themselves, by libraries that know nothing of Python's streams."""
    kept = [os.dup(number) for number in (1, 2)]
    with path.open("wb") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield lambda: path.read_bytes()
        finally:
            for number, before in zip((1, 2), kept, strict=True):
                os.dup2(before, number)
                os.close(before)


def sinks(ran: Ran) -> dict[str, list[Path]]:
    """Every file outside the vault, by what keeps it."""
    root = ran.home / "var"
    vault = {path for pattern in VAULT for path in root.glob(pattern)}
    vault |= {path for path in root.glob("ledger.sqlite*")}
    outside = [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and not any(path == one or path.is_relative_to(one) for one in vault)
    ]
    found: dict[str, list[Path]] = {"Dagster": _files(ran.storage), "temporary folders": _files(ran.temporary)}
    for path in outside:
        found.setdefault(path.relative_to(root).parts[0], []).append(path)
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def hits(ran: Ran) -> list[tuple[str, str, str]]:
    """(sink, file, word) of every canary outside the vault; a picture is searched for as the purge's scan does."""
    found = [("standard output", "", name) for name, word in ran.words.items() if word in ran.spoken]
    for sink, paths in sinks(ran).items():
        for path in paths:
            content = readable(path)
            found += [(sink, path.name, name) for name, word in ran.words.items() if word in content]
        scanned = scanning.scan(paths, ran.gone, silent)
        found += [(sink, hit.path.name, "picture") for hit in scanned.hits]
    return found


def readable(path: Path) -> bytes:
    """The bytes of a file, unpacked; of a database also its values, which its pages may break."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        return gzip.decompress(content)
    if content[:16] == b"SQLite format 3\0":
        with closing(sqlite3.connect(path)) as db:
            return content + "\n".join(db.iterdump()).encode()
    return content


def rows(repository: Path = REPOSITORY) -> list[dict[str, Any]]:
    """For the table of what was tried: one row a canary."""
    with tempfile.TemporaryDirectory() as home:
        ran = run(repository, Path(home))
        found = hits(ran)
        files = sum(map(len, sinks(ran).values()))
        others = sum(name == "picture" for _, _, name in found)
    words = [*ran.words, "picture"]
    return [
        {"row": f"canary {name} outside the vault", "tried": files, "refused": files - count, "other": count}
        for name in words
        for count in [others if name == "picture" else sum(one == name for _, _, one in found)]
    ]
