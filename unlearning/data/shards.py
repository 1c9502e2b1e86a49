"""WebDataset shards, in and out. Reading is a stream of regular members that never touches the disk. No torch.

Nothing is extracted: links, devices, names that lead out of a folder, duplicate names and oversized members are refused
from their headers (tar extraction filters have been escaped more than once; a stream has nothing to escape to).
"""

from __future__ import annotations

import gzip
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Self

from unlearning.errors import DataError

SUFFIXES = (".tar", ".tar.gz", ".tgz")
MAX_MEMBER = 64 * 2**20  # bytes of one member; a picture of 16 million pixels fits
MAX_MEMBERS = 10_000_000  # of one shard
MAX_SHARD_IMAGES = 10_000  # written to one of ours
MAX_SHARD_BYTES = 256 * 2**20
_MAX_HEADER = 64 * 2**10  # bytes of an extended header, which is read whole
_BLOCK = 512
_NAME = re.compile(r"[^\x00-\x1f\x7f\\]{1,255}")
_KEY = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")  # WebDataset's rule: the key ends at the first dot
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_LONG_NAME = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME)


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file of a shard: its name, where its bytes stand in the (uncompressed) shard, and the bytes."""

    name: str
    offset: int
    content: bytes


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
    key, found = "", dict[str, Member]()
    for member in members(path):
        split = _KEY.fullmatch(member.name)
        if split is None:
            raise DataError(f"{path.name}: member {member.name!r} is not named KEY.EXTENSION, as WebDataset wants it")
        if split[1] != key and found:
            yield Sample(key, found)
            found = {}
        key = split[1]
        found[split[2].lower()] = member
    if found:
        yield Sample(key, found)


def members(path: Path) -> Iterator[Member]:
    """The regular members of a shard, in order; directories are passed over, anything else is refused."""
    seen = set[str]()
    try:
        with gzip.open(path, "rb") if path.name.endswith("gz") else path.open("rb") as file:
            for member in _stream(file, path.name):
                if member.name in seen:
                    raise DataError(f"{path.name}: two members are named {member.name!r}; names must differ")
                seen.add(member.name)
                yield member
                if len(seen) > MAX_MEMBERS:
                    raise DataError(f"{path.name}: more than {MAX_MEMBERS} members; split the shard")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path.name}: truncated or damaged shard ({error}); fetch it again") from None
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such shard") from None


def _stream(file: BufferedIOBase, shard: str) -> Iterator[Member]:
    position, long_name = 0, ""
    while True:
        block = _exactly(file, _BLOCK, shard, "before its end mark")
        position += _BLOCK
        if not any(block):
            return _refuse_more(file, shard)
        header = _header(block, shard)
        name = long_name or header.name
        size = 0 if header.isdir() else header.size
        if header.type not in (*_LONG_NAME, tarfile.XGLTYPE):
            _allow(header, name, shard)
        elif size > _MAX_HEADER:
            raise DataError(f"{shard}: an extended header of {size} bytes; at most {_MAX_HEADER} are read")
        content = _exactly(file, size, shard, f"inside {name[:80]!r}")
        _exactly(file, -size % _BLOCK, shard, f"after {name[:80]!r}")
        long_name = _long_name(header, content, shard) if header.type in _LONG_NAME else ""
        if header.type in _REGULAR:
            yield Member(name.removeprefix("./"), position, content)
        position += size + -size % _BLOCK


def _header(block: bytes, shard: str) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise DataError(f"{shard}: not a tar archive, or damaged ({error})") from None


def _allow(header: tarfile.TarInfo, name: str, shard: str) -> None:
    where = f"{shard}: member {name[:80]!r}"
    if not (header.type in _REGULAR or header.isdir()):
        raise DataError(f"{where} is a link, a device or another special file; only regular files are read")
    if not _NAME.fullmatch(name) or name.startswith("/") or ".." in name.split("/"):
        raise DataError(f"{where} has a name that leads elsewhere; a plain relative name is right")
    if not 0 <= header.size <= MAX_MEMBER:
        raise DataError(f"{where} has {header.size} bytes; at most {MAX_MEMBER} are read")


def _long_name(header: tarfile.TarInfo, content: bytes, shard: str) -> str:
    try:
        if header.type == tarfile.GNUTYPE_LONGNAME:
            return content.rstrip(b"\0").decode()
        fields, rest = dict[str, str](), content
        while rest:
            length = int(rest.split(b" ", 1)[0])
            word, value = rest[:length].split(b" ", 1)[1].removesuffix(b"\n").split(b"=", 1)
            if length <= len(word) or word == b"size" or word.startswith(b"GNU.sparse"):
                raise ValueError(f"keyword {word!r}")
            fields[word.decode()], rest = value.decode("utf-8", "replace"), rest[length:]
        return fields.get("path", "")
    except (ValueError, IndexError) as error:
        raise DataError(f"{shard}: an extended header that cannot be read ({str(error)[:80]})") from None


def _exactly(file: BufferedIOBase, size: int, shard: str, where: str) -> bytes:
    content = file.read(size) if size else b""
    if len(content) != size:
        raise DataError(f"{shard}: truncated shard, it stops {where}; fetch it again")
    return content


def _refuse_more(file: BufferedIOBase, shard: str) -> None:
    """Reads to the end, so that gzip's checksum is compared, and refuses what would otherwise be passed over."""
    while more := file.read(2**20):
        if any(more):
            raise DataError(f"{shard}: bytes follow its end mark; one archive a shard is right")


class Writer:
    """Writes plain tars `prefix-000000.tar`, the same bytes every time; a new one where the last is full.

    WebDataset's own TarWriter writes them, so that any WebDataset reader reads them. Use it as a context.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        os.environ["WDS_SECURE"] = "1"  # before the import: no `pipe:` addresses, no pickled members
        from webdataset.writer import TarWriter

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
