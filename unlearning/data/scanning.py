"""Look for forgotten images in files, whoever put them there: by keyed tombstones, so that nothing of them is needed.

A copy is found as the bytes of a file, as a picture of equal pixels however it was encoded, as a member of an archive
(and of an archive in it), as base64 in text, and as a value in Parquet or SQLite (contents.py says how each is opened).
What cannot be opened that way, arrays of numbers above all, is counted as not looked into. No torch.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unlearning.data import contents, pictures
from unlearning.data.tombstones import Tombstones
from unlearning.errors import DataError
from unlearning.log import Log, Progress

_EVERY = 500  # files between progress lines
_ARRAYS = {b"\x93NUMPY": "npy", b"\x89HDF": "hdf5", b"\x80\x04": "pickle", b"\x80\x02": "pickle"}
_OPAQUE = (".safetensors", ".npy", ".npz", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5")


@dataclass(frozen=True, slots=True)
class Hit:
    """One copy: the file, where in it, and how it was known."""

    path: Path
    inside: str  # "" = the file itself; else members and places, outermost first
    known_by: Literal["bytes", "pixels"]


@dataclass(slots=True)
class Scanned:
    """What a walk came to."""

    files: int = 0
    bytes: int = 0
    hits: list[Hit] = field(default_factory=list)
    not_looked_into: Counter[str] = field(default_factory=Counter)  # kind of file -> how many


def scan(roots: Iterable[Path], gone: Tombstones, log: Log, skip: Collection[Path] = ()) -> Scanned:
    """Look at every regular file below the roots; links are not followed, and a file of two names is read once.

    skip  files and folders that are left out
    A file that goes away meanwhile is passed over.
    """
    found, seen = Scanned(), set[tuple[int, int]]()
    for path in _files(roots, frozenset(skip)):
        try:
            said = path.stat(follow_symlinks=False)
            if (said.st_dev, said.st_ino) in seen:
                continue
            seen.add((said.st_dev, said.st_ino))
            _look(path, gone, found)
        except FileNotFoundError:
            continue
        except OSError:
            found.not_looked_into["unreadable"] += 1
        found.files += 1
        found.bytes += said.st_size
        if found.files % _EVERY == 0:
            log(Progress("scan", found.files, 0, note=f"{found.files} files, {len(found.hits)} hits"))
    return found


def _files(roots: Iterable[Path], skip: frozenset[Path]) -> Iterator[Path]:
    for root in roots:
        if root.is_file():
            yield root
        for home, folders, names in os.walk(root):
            here = Path(home)
            folders[:] = sorted(name for name in folders if here / name not in skip)
            yield from (
                path
                for name in sorted(names)
                if (path := here / name) not in skip and path.is_file() and not path.is_symlink()
            )


def _look(path: Path, gone: Tombstones, found: Scanned) -> None:
    """One file: as a whole, and whatever it holds."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if gone.has_bytes(sha256):
            found.hits.append(Hit(path, "", "bytes"))
            return
        size = file.seek(0, os.SEEK_END)
        if not size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            same = _same_pixels(content[:], gone) if _is_picture(content, size) else None
            if same is not None:
                found.hits += [Hit(path, "", "pixels")] if same else []
                return
            kind = _array(path, content)
            if kind is not None:
                found.not_looked_into[kind] += 1
                return
            _inside(path, content, gone, found)


def _inside(path: Path, content: mmap.mmap, gone: Tombstones, found: Scanned) -> None:
    """What the file holds: each value by itself."""
    for value in contents.values(path, content):
        if value.content is None:
            found.not_looked_into[value.inside] += 1
        elif gone.has_bytes(hashlib.sha256(value.content).hexdigest()):
            found.hits.append(Hit(path, value.inside, "bytes"))
        elif _is_picture(value.content, len(value.content)) and _same_pixels(value.content, gone):
            found.hits.append(Hit(path, value.inside, "pixels"))


def _is_picture(content: bytes | mmap.mmap, size: int) -> bool:
    return size <= contents.MAX_VALUE and contents.is_picture(content[:16])


def _same_pixels(content: bytes, gone: Tombstones) -> bool | None:
    """Whether it decodes to a forgotten picture; None of what does not decode, and only begins like one."""
    try:
        return gone.has_pixels(pictures.pixel_sha256(pictures.decode(content, "a scanned file")))
    except DataError:
        return None


def _array(path: Path, content: mmap.mmap) -> str | None:
    """The kind of a file of numbers, which nobody looks into."""
    by_mark = next((kind for mark, kind in _ARRAYS.items() if content[: len(mark)] == mark), None)
    return by_mark or (path.suffix.lstrip(".") if path.suffix in _OPAQUE else None)
