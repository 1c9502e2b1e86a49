"""Files that call themselves pictures: bombs, headers that lie, formats that nobody asked for. All made here."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2, pixels: bytes | None = None) -> bytes:
    """A PNG with these chunks before its pixels, which are right for its size where it is small."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = zlib.compress(b"\0" * (height * (1 + 3 * width)) if pixels is None else pixels, 9)
    return SIGNATURE + head + b"".join(chunks) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def saved(form: str, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(sink, form)
    return sink.getvalue()


def _bits(width: int, height: int) -> bytes:
    """One bit a pixel, all of them there: kilobytes that are hundreds of megabytes as RGB."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(1 + (width + 7) // 8)) for _ in range(height)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return SIGNATURE + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _zeros(mib: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(mib)) + packer.flush()


def _jpeg_claims(side: int) -> bytes:
    whole = bytearray(saved("JPEG"))
    place = whole.index(b"\xff\xc0") + 5
    whole[place : place + 4] = struct.pack(">HH", side, side)
    return bytes(whole)


def _bmp_claims(width: int, height: int) -> bytes:
    whole = bytearray(saved("BMP"))
    whole[18:26] = struct.pack("<ii", width, height)
    return bytes(whole)


def _webp_claims() -> bytes:
    """An extended header of 16384 x 16384 around a small picture."""
    small = saved("WEBP")[12:]
    canvas = struct.pack("<I", 16383)[:3] * 2
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + canvas + small
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]


HOSTILE: dict[str, Callable[[], bytes]] = {
    "25 million pixels in 3 kB": lambda: _bits(5000, 5000),
    "100 million pixels in 12 kB": lambda: _bits(10_000, 10_000),
    "400 million pixels claimed": lambda: png(20_000, 20_000, pixels=b"\0"),
    "2 billion a side claimed": lambda: png(2**31 - 1, 2**31 - 1, pixels=b"\0"),
    "no pixels": lambda: png(0, 8, pixels=b"\0"),
    "text of 32 MiB": lambda: png(8, 8, chunk(b"zTXt", b"k\0\0" + _zeros(32))),
    "international text of 32 MiB": lambda: png(8, 8, chunk(b"iTXt", b"k\0\1\0\0\0" + _zeros(32))),
    "many texts": lambda: png(8, 8, *[chunk(b"zTXt", b"k%d\0\0" % n + _zeros(1)[:-1]) for n in range(70)]),
    "colour profile of 32 MiB": lambda: png(8, 8, chunk(b"iCCP", b"k\0\0" + _zeros(32))),
    "fewer pixels than said": lambda: png(64, 64, pixels=b"\0" * 100),
    "wrong sum of a chunk": lambda: _flipped(saved("PNG"), 60),
    "sixteen bits": lambda: saved("PNG", mode="I;16"),
    "cut PNG": lambda: saved("PNG")[:-200],
    "cut JPEG": lambda: saved("JPEG")[:-200],
    "cut WebP": lambda: saved("WEBP")[:-200],
    "cut BMP": lambda: saved("BMP")[:-200],
    "JPEG claims 65,000 a side": lambda: _jpeg_claims(65_000),
    "BMP claims two billion": lambda: _bmp_claims(2**31 - 1, 1),
    "BMP claims less than nothing": lambda: _bmp_claims(-5000, -(2**31)),
    "WebP claims 268 million pixels": _webp_claims,
    "PPM claims 10^10 pixels": lambda: b"P6\n99999 99999\n255\n" + b"\0" * 100,
    "PPM claims a number of 4,000 digits": lambda: b"P6\n" + b"9" * 4000 + b" 1\n255\n\0\0\0",
    "GIF": lambda: saved("GIF", mode="P"),
    "TIFF": lambda: saved("TIFF"),
    "ICO": lambda: saved("ICO"),
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(x) (w) file showpage\n",
    "PDF": lambda: saved("PDF"),
    "SVG with a script": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "ImageMagick": lambda: b"push graphic-context\nfill 'url(https://x/\"|touch owned\")'\npop graphic-context\n",
    "shell": lambda: b"#!/bin/sh\ntouch owned\n",
    "empty": lambda: b"",
}
