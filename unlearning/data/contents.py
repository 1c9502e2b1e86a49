"""The values that a file holds: members of archives, base64 in text, cells of Parquet and SQLite. Nothing is unpacked.

An archive in an archive is opened, a third is not: it is said, as `deeper_archive`. More than MAX_VALUE bytes of a
value are not read. A file that claims to be of a kind and is not is said as `damaged_KIND`.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import lzma
import mmap
import re
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from unlearning.data import index

Content: TypeAlias = bytes | mmap.mmap

MAX_VALUE = 64 * 2**20  # bytes of one value
_TAR = 257  # where a tar says that it is one
_TEXT = 2**12  # bytes by which text is told from other files
_LETTER = rb"(?:[A-Za-z0-9+/_-]|\\/)"  # of base64, base64url, and JSON's way to write a slash
_BREAK = rb"(?:\r?\n|(?:\\r)?\\n)(?=[A-Za-z0-9+/_-])"  # a line's end, also as JSON writes it; an empty line ends a run
_RUN = re.compile(_LETTER + rb"{4}(?:" + _LETTER + rb"|" + _BREAK + rb"){50,}={0,2}")
_LINE_END = re.compile(rb"\r?\n|(?:\\r)?\\n")
_SHORTEST = 54  # letters
_SQLITE = b"SQLite format 3\0"
_READABLE = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_string,
    pa.types.is_large_string,
)
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    sqlite3.Error,
    pa.ArrowException,
    zlib.error,
    gzip.BadGzipFile,
    lzma.LZMAError,
    EOFError,
)
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"P4", b"P5", b"P6", b"P1", b"P2", b"P3")
_STANDARD = bytes.maketrans(b"-_", b"+/")  # base64url is the same but for two letters


@dataclass(frozen=True, slots=True)
class Value:
    """One value; `content` is None where it could not be read, and `inside` then is the kind of what it was."""

    inside: str
    content: bytes | None


def is_picture(head: bytes) -> bool:
    """Whether the first bytes are those of a picture that we decode."""
    return head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def values(path: Path, content: mmap.mmap) -> Iterator[Value]:
    """The values of one file, by what its first bytes say it is."""
    if content[:16] == _SQLITE:
        yield from _guarded("sqlite", _sqlite_file(path))
    else:
        yield from _held(content, lambda: path.open("rb"), 1)


def _held(content: Content, opened: Callable[[], IO[bytes]], depth: int) -> Iterator[Value]:
    """Members of what is an archive, cells of what is a table, base64 of what is text, nothing of anything else."""
    if _is_archive(content):
        if depth > 2:
            yield Value("deeper_archive", None)
        else:
            kind, members = _archive(content)
            with opened() as file:
                yield from _guarded(kind, members(file, depth))
    elif content[:4] == b"PAR1":
        yield from _guarded("parquet", _parquet(content))
    elif content[:16] == _SQLITE:
        yield from _guarded("sqlite", _sqlite_bytes(content[:]))
    elif _is_text(content[:_TEXT]):
        yield from _base64(content)


def _is_archive(content: Content) -> bool:
    return content[:4] == b"PK\x03\x04" or content[:2] == b"\x1f\x8b" or _is_tar(content[:512])


def _archive(content: Content) -> tuple[str, Callable[[IO[bytes], int], Iterator[Value]]]:
    """What an archive calls itself, and what reads it."""
    if content[:2] == b"PK":
        return "zip", _zip
    if content[:2] == b"\x1f\x8b" and not _is_tar(_unpacked_head(content)):
        return "gzip", _gzip
    return "tar", _tar


def _is_tar(head: bytes) -> bool:
    return head[_TAR : _TAR + 5] == b"ustar"


def _unpacked_head(content: Content) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(content[: 2**12], 512)
    except zlib.error:
        return b""


def _guarded(kind: str, found: Iterator[Value]) -> Iterator[Value]:
    """What is damaged, or only looks like it, ends the file and nothing else."""
    try:
        yield from found
    except _DAMAGED:
        yield Value(f"damaged_{kind}", None)
    except (NotImplementedError, RuntimeError):  # a zip that is encrypted, or packed in a way nobody here knows
        yield Value(f"closed_{kind}", None)


def _member(name: str, file: IO[bytes] | gzip.GzipFile, depth: int) -> Iterator[Value]:
    content = file.read(MAX_VALUE + 1)
    if len(content) > MAX_VALUE:
        yield Value("long_member", None)
        return
    yield Value(name, content)
    if not is_picture(content[:16]):
        for one in _held(content, lambda: io.BytesIO(content), depth + 1):
            yield one if one.content is None else Value(f"{name}/{one.inside}", one.content)


def _tar(file: IO[bytes], depth: int) -> Iterator[Value]:
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        for number, member in enumerate(archive):
            opened = archive.extractfile(member) if member.isfile() else None
            if opened is not None:
                yield from _member(f"member {number}", opened, depth)


def _zip(file: IO[bytes], depth: int) -> Iterator[Value]:
    with zipfile.ZipFile(file) as archive:
        for number, member in enumerate(archive.infolist()):
            if not member.is_dir():
                with archive.open(member) as opened:
                    yield from _member(f"member {number}", opened, depth)


def _gzip(file: IO[bytes], depth: int) -> Iterator[Value]:
    with gzip.open(file) as opened:
        yield from _member("unpacked", opened, depth)


def _parquet(content: Content) -> Iterator[Value]:
    file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(content)), **index.FOOTER)
    for batch in file.iter_batches(batch_size=256):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            for cell in _cells(column):
                yield from _cell(f"column {name}", cell)


def _cells(column: pa.Array) -> Iterator[Any]:
    """Bytes and texts of a column, also of lists and structures."""
    if isinstance(column, pa.StructArray):
        for part in column.flatten():
            yield from _cells(part)
    elif isinstance(column, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        yield from _cells(column.flatten())
    elif pa.types.is_dictionary(column.type):
        yield from _cells(column.dictionary)
    elif any(is_kind(column.type) for is_kind in _READABLE):
        yield from (cell for cell in column.to_pylist() if cell is not None)


def _sqlite_file(path: Path) -> Iterator[Value]:
    """What was committed to the file, and to its log where one lies beside it. Nothing is written beside either."""
    logged = path.with_name(f"{path.name}-wal").exists()
    address = f"{path.resolve().as_uri()}?mode=ro{'' if logged else '&immutable=1'}"
    with closing(sqlite3.connect(address, uri=True)) as db:
        yield from _sqlite(db)


def _sqlite_bytes(content: bytes) -> Iterator[Value]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(content)
        yield from _sqlite(db)


def _sqlite(db: sqlite3.Connection) -> Iterator[Value]:
    """Every text and blob of every table."""
    db.text_factory = bytes
    tables = [name.decode() for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        quoted = table.replace('"', '""')
        for row in db.execute(f'SELECT * FROM "{quoted}"'):  # a name cannot be bound; a quoted one cannot end
            for cell in row:
                if isinstance(cell, bytes):
                    yield from _cell(f"table {table}", cell)


def _cell(inside: str, cell: bytes | str) -> Iterator[Value]:
    content = cell.encode() if isinstance(cell, str) else cell
    if len(content) > MAX_VALUE:
        yield Value("long_cell", None)
        return
    yield Value(inside, content)
    if _is_text(content[:_TEXT]):
        yield from (Value(f"{inside}/{one.inside}", one.content) for one in _base64(content))


def _is_text(head: bytes) -> bool:
    return b"\0" not in head


def _base64(content: Content) -> Iterator[Value]:
    """What each run of base64 says: the whole of it, and each of its lines, which may be a value each."""
    for number, run in enumerate(_RUN.finditer(content)):
        lines = [line for line in _LINE_END.split(run[0].replace(b"\\/", b"/")) if line]
        texts = [b"".join(lines)]
        if len(lines) > 1:
            texts += [b"".join(lines[1:]), *(line for line in lines if len(line) >= _SHORTEST)]
        for text in texts:
            plain = text.rstrip(b"=").translate(_STANDARD)
            try:
                yield Value(f"base64 {number}", base64.b64decode(plain + b"=" * (-len(plain) % 4)))
            except binascii.Error:
                continue  # a word, not base64
