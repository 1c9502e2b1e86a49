"""WebDataset shards, in and out. Reading is a stream of regular members (tar_stream.py); no member runs. No torch.

What may stand beside a picture is text: a member whose name promises an object of some library is refused, though
nobody here would decode it. WebDataset's own reader would (`.pyd`, `.pickle`, `.pth`), and it opens `pipe:` addresses
as commands; so it reads nothing foreign here, and is told to do neither.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Self

from unlearning.data.pictures import EXTENSIONS
from unlearning.data.tar_stream import MAX_MEMBER as MAX_MEMBER
from unlearning.data.tar_stream import Member, members, members_of
from unlearning.errors import DataError

SUFFIXES = (".tar", ".tar.gz", ".tgz")
TEXTS = frozenset({"json", "cls", "txt", "text", "id", "index", "caption", "url", "csv", "tsv", "xml", "md"})
MAX_SHARD_IMAGES = 10_000  # written to one of ours
MAX_SHARD_BYTES = 256 * 2**20
_KEY = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")  # WebDataset's rule: the key ends at the first dot

os.environ["WDS_SECURE"] = "1"  # before anybody imports webdataset: no `pipe:` addresses, no pickled members


@dataclass(frozen=True, slots=True)
class Sample:
    """Neighbouring members of one key, by extension."""

    key: str
    members: dict[str, Member]


def is_shard(path: Path) -> bool:
    """Whether the name is a shard's."""
    return path.name.endswith(SUFFIXES)


def samples(path: Path) -> Iterator[Sample]:
    """The samples of a `.tar` or `.tar.gz` shard, in order. Raises DataError naming shard and member."""
    yield from _grouped(members(path), path.name)


def samples_of(file: BufferedIOBase, name: str) -> Iterator[Sample]:
    """`samples`, of an open file that can be sought in; `name` is the archive's."""
    yield from _grouped(members_of(file, name), name)


def _grouped(stream: Iterator[Member], shard: str) -> Iterator[Sample]:
    key, found = "", dict[str, Member]()
    for member in stream:
        split = _KEY.fullmatch(member.name)
        if split is None:
            raise DataError(f"{shard}: member {member.name[:80]!r} is not named KEY.EXTENSION, as WebDataset wants it")
        kind = split[2].lower().rpartition(".")[2]
        if kind not in EXTENSIONS | TEXTS:
            raise DataError(
                f"{shard}: member {member.name[:80]!r} is neither a picture ({', '.join(sorted(EXTENSIONS))}) nor "
                f"text ({', '.join(sorted(TEXTS))}); nothing else is read"
            )
        if split[1] != key and found:
            yield Sample(key, found)
            found = {}
        key = split[1]
        found[split[2].lower()] = member
    if found:
        yield Sample(key, found)


class Writer:
    """Writes plain tars `prefix-000000.tar`, the same bytes every time; a new one where the last is full.

    WebDataset's own TarWriter writes them, so that any WebDataset reader reads them. Use it as a context.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        import webdataset.utils
        from webdataset.writer import TarWriter

        webdataset.utils.enforce_security = True  # somebody may have imported it before this module

        self.paths: list[Path] = []
        self._folder, self._prefix, self._kind = folder, prefix, TarWriter
        self._open = ExitStack()
        self._tar: Any = None
        self._images = self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, key: str, members: dict[str, bytes]) -> None:
        """One sample: its members by extension."""
        if self._tar is None or self._images >= MAX_SHARD_IMAGES or self._bytes >= MAX_SHARD_BYTES:
            self._next()
        self._bytes += self._tar.write({"__key__": key, **members})
        self._images += 1

    def _next(self) -> None:
        self._open.close()
        path = self._folder / f"{self._prefix}-{len(self.paths):06d}.tar"
        file = self._open.enter_context(path.open("xb"))
        writer = self._kind(file, encoder=False, mtime=0, user="", group="", mode=0o444, compress=False)
        self._tar = self._open.enter_context(writer)
        self._images = self._bytes = 0
        self.paths.append(path)
