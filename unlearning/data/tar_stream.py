"""The regular members of a tar archive, one after another, from a stream: nothing is extracted, nothing is decoded.

Links, devices, sparse files, names that lead out of a folder, names that two readers would read differently, duplicate
names and oversized members are refused from their headers. Extraction filters have been escaped more than once
(CVE-2025-4517, say); a stream has nothing to escape to.
"""

from __future__ import annotations

import gzip
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

from unlearning.errors import DataError

MAX_MEMBER = 64 * 2**20  # bytes of one member; a picture of 16 million pixels fits
MAX_MEMBERS = 1_000_000  # of one archive
MAX_RATIO = 200  # uncompressed bytes for one of a .tar.gz: pictures hardly shrink, and what is blank is small
_SLACK = 64 * 2**20  # uncompressed bytes before the ratio counts
_MAX_HEADER = 64 * 2**10  # bytes of an extended header, which is read whole
_BLOCK = 512
_NAME = re.compile(r"(\./)?[^\x00-\x1f\x7f\\]{1,255}")
_LEADS_ELSEWHERE = frozenset({"", ".", ".."})  # as a part of a name
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
_EXTENDED = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_GLOBAL_MEANS_NOTHING = frozenset({"comment"})  # git writes the commit there
_MEANS_MORE = re.compile(r"size|linkpath|hdrcharset|charset|GNU\.sparse.*")  # tells some readers of another member
_SPECIAL_MODE = 0o7000  # setuid, setgid, sticky


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file of an archive: its name, where its bytes stand in the (uncompressed) archive, and the bytes."""

    name: str
    offset: int
    content: bytes


def members(path: Path) -> Iterator[Member]:
    """The regular members of a `.tar` or `.tar.gz`, in order; directories are passed over, anything else is refused.

    Raises DataError naming archive and member.
    """
    try:
        with path.open("rb") as file:
            yield from members_of(file, path.name)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such shard") from None


def members_of(file: BufferedIOBase, name: str) -> Iterator[Member]:
    """`members`, of an open file that can be sought in; `name` is the archive's, and says whether it is packed."""
    seen = set[str]()
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        with gzip.open(file, "rb") if name.endswith("gz") else nullcontext(file) as plain:
            for member in _stream(plain, name, size * MAX_RATIO + _SLACK):
                if member.name in seen:
                    raise DataError(f"{name}: two members are named {member.name[:80]!r}; names must differ")
                seen.add(member.name)
                if len(seen) > MAX_MEMBERS:
                    raise DataError(f"{name}: more than {MAX_MEMBERS} members; split the shard")
                yield member
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name}: truncated or damaged shard ({error}); fetch it again") from None


def _stream(file: BufferedIOBase, shard: str, most: int) -> Iterator[Member]:
    position, long_name = 0, ""
    while True:
        block = _exactly(file, _BLOCK, shard, "before its end mark")
        position += _BLOCK
        if not any(block):
            return _refuse_more(file, shard, long_name, most - position)
        header = _header(block, shard)
        size, name = header.size, long_name or header.name
        before = position
        position += size + -size % _BLOCK
        if header.type in (*_EXTENDED, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE):
            content = _extension(file, header, shard)
            long_name = _long_name(header, content, shard, long_name)
            continue
        _allow(header, name, shard)
        if position > most:
            raise DataError(f"{shard}: unpacks to more than {MAX_RATIO} times its size; a shard of pictures does not")
        content = _exactly(file, size, shard, f"inside {name[:80]!r}")
        _exactly(file, -size % _BLOCK, shard, f"after {name[:80]!r}")
        long_name = ""
        if not header.isdir():
            yield Member(name.removeprefix("./"), before, content)


def _header(block: bytes, shard: str) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise DataError(f"{shard}: not a tar archive, or damaged ({str(error)[:80]})") from None
    if header.size < 0:  # a size in base 256 has a sign
        raise DataError(f"{shard}: a header that claims {header.size} bytes; fetch it again")
    return header


def _allow(header: tarfile.TarInfo, name: str, shard: str) -> None:
    where = f"{shard}: member {name[:80]!r}"
    if not (header.type in _REGULAR or header.isdir()):
        raise DataError(f"{where} is a link, a device or another special file; only regular files are read")
    for spelled in (name, header.name):  # the short name, too: some readers know no other
        plain = spelled.removesuffix("/") if header.isdir() else spelled
        parts = plain.removeprefix("./").split("/")
        if header.isdir() and plain == ".":
            continue
        if not _NAME.fullmatch(plain) or _LEADS_ELSEWHERE & set(parts):
            raise DataError(f"{where} has a name that leads elsewhere; a plain relative name is right")
    if header.size > (0 if header.isdir() else MAX_MEMBER):
        raise DataError(f"{where} has {header.size} bytes; at most {MAX_MEMBER} are read, and none of a folder")
    if header.mode & _SPECIAL_MODE and not header.isdir():
        raise DataError(f"{where} wants to run as somebody else (mode {header.mode:o}); a picture needs no such mode")


def _extension(file: BufferedIOBase, header: tarfile.TarInfo, shard: str) -> bytes:
    """What an extended header holds."""
    if header.size > _MAX_HEADER:
        raise DataError(f"{shard}: an extended header of {header.size} bytes; at most {_MAX_HEADER} are read")
    content = _exactly(file, header.size, shard, "inside an extended header")
    _exactly(file, -header.size % _BLOCK, shard, "after an extended header")
    return content


def _long_name(header: tarfile.TarInfo, content: bytes, shard: str, before: str) -> str:
    """The name that the next member has by this header, and by no other one; "" if it says none."""
    try:
        if header.type == tarfile.GNUTYPE_LONGNAME:
            name = content.removesuffix(b"\0").decode()
            if not name:
                raise ValueError("an empty name")
        else:
            fields = _fields(content)
            if header.type == tarfile.XGLTYPE and not fields.keys() <= _GLOBAL_MEANS_NOTHING:
                raise ValueError("it speaks of every member")
            name = fields.get("path", "")
            if "path" in fields and not name:
                raise ValueError("an empty name")
        if name and before:
            raise ValueError("a second name for one member")
    except (ValueError, IndexError) as error:
        raise DataError(f"{shard}: an extended header that cannot be read ({str(error)[:80]})") from None
    return name or before


def _fields(content: bytes) -> dict[str, str]:
    """The records `LENGTH KEYWORD=VALUE\\n` of a pax header. Raises ValueError or IndexError."""
    fields, rest = dict[str, str](), content
    while rest:
        length = int(rest[:8].split(b" ", 1)[0])
        if not 0 < length <= len(rest) or not rest[:length].endswith(b"\n"):
            raise ValueError("a record of another length than it says")
        word, value = rest[: length - 1].split(b" ", 1)[1].split(b"=", 1)
        keyword = word.decode()
        if keyword in fields or _MEANS_MORE.fullmatch(keyword):
            raise ValueError(f"keyword {keyword[:40]!r}")
        # Some write attributes of their own system as bytes: they are passed over.
        fields[keyword], rest = value.decode(errors="strict" if keyword == "path" else "replace"), rest[length:]
    return fields


def _exactly(file: BufferedIOBase, size: int, shard: str, where: str) -> bytes:
    content = file.read(size) if size else b""
    if len(content) != size:
        raise DataError(f"{shard}: truncated shard, it stops {where}; fetch it again")
    return content


def _refuse_more(file: BufferedIOBase, shard: str, long_name: str, most: int) -> None:
    """Reads to the end, so that gzip's checksum is compared, and refuses what would otherwise be passed over."""
    if long_name:
        raise DataError(f"{shard}: an extended header that no member follows; fetch it again")
    while more := file.read(2**20):
        most -= len(more)
        if any(more) or most < 0:
            raise DataError(f"{shard}: bytes follow its end mark; one archive a shard is right")
