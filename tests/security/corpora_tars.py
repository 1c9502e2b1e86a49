"""Archives that would write, read or run elsewhere if somebody extracted them, or that two readers read differently."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable

from tests.toy_batch import png

_BLOCK = 512


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object) -> bytes:
    """Header and content of one member, GNU form; `fields` of tarfile.TarInfo."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT) + padded(content)


def padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % _BLOCK)


def ended(*parts: bytes) -> bytes:
    return b"".join(parts) + b"\0" * (2 * _BLOCK)


def pax(kind: bytes = tarfile.XHDTYPE, **records: str) -> bytes:
    """An extended header of records; `GNU__sparse__name` stands for GNU.sparse.name."""
    return member("PaxHeader", b"".join(record(k.replace("__", "."), v.encode()) for k, v in records.items()), kind)


def record(keyword: str, value: bytes) -> bytes:
    body = b" " + keyword.encode() + b"=" + value + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def _escape() -> bytes:
    """CVE-2025-4517: a chain of links longer than a path may be, so that the filter's check stops before its end."""
    parts, path = [], ""
    for letter in "abcdefghijklmnop":
        folder = "d" * 247
        parts += [member(f"{path}{folder}", kind=tarfile.DIRTYPE), _link(f"{path}{letter}", folder)]
        path += f"{letter}/"
    tail = f"{path}{'l' * 254}"
    parts += [_link(tail, "../" * 16), _link("escape", f"{tail}/../../../../tmp"), member("escape/owned.png", png(1))]
    return ended(*parts)


def _link(name: str, target: str) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info.tobuf(tarfile.GNU_FORMAT)


def _resized(name: str, size: bytes) -> bytes:
    """A member whose size field says something else."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size
    return _summed(block)


def _summed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def _sparse() -> bytes:
    block = bytearray(member("a.png", b"", tarfile.GNUTYPE_SPARSE))
    block[386:398], block[398:410], block[483:495] = b"00000000000\0", b"00000001000\0", b"77777777777\0"
    return ended(_summed(block))


GOOD = member("good.png", png(1))
_NEGATIVE = b"\xff" * 12  # -1 in base 256
HOSTILE: dict[str, Callable[[], bytes]] = {
    "symbolic link": lambda: ended(GOOD, _link("a.png", "/etc/passwd")),
    "hard link": lambda: ended(GOOD, member("a.png", kind=tarfile.LNKTYPE, linkname="/etc/passwd")),
    "link to a link": lambda: ended(_link("a", "/tmp"), member("a/b.png", png(1))),
    "character device": lambda: ended(member("a.png", kind=tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "block device": lambda: ended(member("a.png", kind=tarfile.BLKTYPE, devmajor=8)),
    "fifo": lambda: ended(GOOD, member("a.png", kind=tarfile.FIFOTYPE)),
    "sparse": _sparse,
    "sparse by pax": lambda: ended(pax(GNU__sparse__name="b.png", GNU__sparse__realsize="9999999999"), GOOD),
    "parent": lambda: ended(GOOD, member("../a.png", png(2))),
    "parent inside": lambda: ended(member("a/../../b.png", png(2))),
    "absolute": lambda: ended(member("/tmp/a.png", png(2))),
    "backslash": lambda: ended(member("..\\a.png", png(2))),
    "empty part": lambda: ended(member("a//b.png", png(2))),
    "control character": lambda: ended(member("a\x1b[2Jb.png", png(2))),
    "setuid": lambda: ended(member("a.png", png(2), mode=0o4755)),
    "twice": lambda: ended(GOOD, member("good.png", png(2))),
    "twice by another spelling": lambda: ended(GOOD, member("./good.png", png(2))),
    "CVE-2025-4517": _escape,
    "pax name leads out": lambda: ended(pax(path="../../a.png"), GOOD),
    "pax hides a name": lambda: ended(pax(path="a.png"), member("../b.png", png(1))),
    "pax changes the size": lambda: ended(pax(size="1"), GOOD),
    "pax of every member": lambda: ended(pax(tarfile.XGLTYPE, path="a.png"), GOOD),
    "pax says it twice": lambda: ended(member("P", record("path", b"a.png") * 2, tarfile.XHDTYPE), GOOD),
    "pax of no length": lambda: ended(member("P", b"0 path=a.png\n", tarfile.XHDTYPE), GOOD),
    "pax of nothing": lambda: ended(pax(path="a.png")),
    "pax of an empty name": lambda: ended(pax(path=""), GOOD),
    "pax and GNU names": lambda: ended(pax(path="a.png"), member("L", b"b.png\0", tarfile.GNUTYPE_LONGNAME), GOOD),
    "GNU name leads out": lambda: ended(member("L", b"../a.png\0", tarfile.GNUTYPE_LONGNAME), GOOD),
    "GNU name with a NUL": lambda: ended(member("L", b"a.png\0.txt\0", tarfile.GNUTYPE_LONGNAME), GOOD),
    "negative size": lambda: ended(_resized("a.png", _NEGATIVE)),
    "negative extended header": lambda: ended(_summed_kind(_resized("a.png", _NEGATIVE), tarfile.XHDTYPE)),
    "folder with content": lambda: ended(_summed_kind(_resized("a/", b"00000001000\0"), tarfile.DIRTYPE), padded(b"x")),
    "more than there is": lambda: _resized("a.png", b"00000100000\0"),
    "gigabytes claimed": lambda: ended(_resized("a.png", b"77777777777\0")),
    "a second archive": lambda: ended(GOOD) + ended(member("hidden.png", png(2))),
    "no ending": lambda: ended(GOOD, member("picture", png(2))),
    "extended header of a megabyte": lambda: ended(pax(comment="x" * 2**20), GOOD),
    "pax without a value": lambda: ended(member("P", b"9 path a\n", tarfile.XHDTYPE), GOOD),
    "GNU name of nothing": lambda: ended(member("L", b"\0", tarfile.GNUTYPE_LONGNAME), GOOD),
    "no archive": lambda: b"#!/bin/sh\ntouch owned\n" * 60,
}


def _summed_kind(block: bytes, kind: bytes) -> bytes:
    changed = bytearray(block)
    changed[156:157] = kind
    return _summed(changed)


def bombs() -> dict[str, bytes]:
    """gzip archives that unpack to 140 megabytes."""
    return {
        "zeros behind the end": _squeezed(ended(GOOD), 140),
        "one blank picture after another": _squeezed(b"", 0, members=3),
    }


def _squeezed(head: bytes, blank_mib: int, members: int = 0) -> bytes:
    sink = io.BytesIO()
    with gzip.GzipFile(fileobj=sink, mode="wb", mtime=0, compresslevel=9) as out:
        out.write(head)
        for _ in range(blank_mib):
            out.write(bytes(2**20))
        for number in range(members):
            info = tarfile.TarInfo(f"{number}.bmp")
            info.size = 48 * 2**20
            out.write(info.tobuf(tarfile.GNU_FORMAT))
            for _ in range(48):
                out.write(bytes(2**20))
    return sink.getvalue()
