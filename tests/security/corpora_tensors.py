"""safetensors files whose headers lie, explode or mean two things."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
NOTHING = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
DATA = struct.pack("<2f", 1.0, 2.0)


def spelled(header: bytes, data: bytes = DATA, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def of(data: bytes = DATA, **tensors: Any) -> bytes:
    return spelled(json.dumps(tensors).encode(), data)


def entry(**changes: Any) -> dict[str, Any]:
    return {**F32, **changes}


GOOD = of(a=F32)
HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no header": lambda: struct.pack("<Q", 0),
    "header longer than the file": lambda: spelled(b"{}", length=2**63),
    "header of 100 MB claimed": lambda: spelled(b"{}" + b" " * 1000, length=100 * 2**20),
    "header of 9 MiB": lambda: spelled(b"{}" + b" " * (9 * 2**20), b""),
    "65,537 tensors": lambda: of(b"", **dict.fromkeys(map(str, range(2**16 + 1)), NOTHING)),
    "no object": lambda: spelled(b"[1,2]"),
    "not JSON": lambda: spelled(b"{'a': 1}"),
    "not UTF-8": lambda: spelled(b'{"\xff": 1}'),
    "nested 100,000 deep": lambda: spelled(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a tensor twice": lambda: spelled(b'{"a":%s,"a":%s}' % ((json.dumps(F32).encode(),) * 2)),
    "overlapping": lambda: of(a=F32, b=entry(data_offsets=[4, 12])),
    "the same bytes": lambda: of(a=F32, b=F32),
    "a gap": lambda: of(DATA * 2, a=F32, b=entry(shape=[1], data_offsets=[12, 16])),
    "bytes behind": lambda: of(DATA + b"hidden", a=F32),
    "beyond the end": lambda: of(a=entry(shape=[4], data_offsets=[0, 16])),
    "ends before it begins": lambda: of(a=entry(data_offsets=[8, 0])),
    "negative offset": lambda: of(a=entry(data_offsets=[-8, 0])),
    "negative size": lambda: of(a=entry(shape=[-2])),
    "sizes whose product wraps": lambda: of(b"", a=entry(shape=[2**33, 2**33], data_offsets=[0, 0])),
    "a number beyond 2^53": lambda: of(a=entry(data_offsets=[0, 2**64 + 8])),
    "a fraction": lambda: of(a=entry(shape=[2.0])),
    "true for one": lambda: of(b"\0\0\0\0", a=entry(shape=[True], data_offsets=[0, 4])),
    "more sizes than any weight": lambda: of(b"\0\0\0\0", a=entry(shape=[1] * 9, data_offsets=[0, 4])),
    "shape is no list": lambda: of(a=entry(shape="2")),
    "three offsets": lambda: of(a=entry(data_offsets=[0, 8, 8])),
    "unknown type": lambda: of(a=entry(dtype="OBJECT")),
    "type is no name": lambda: of(a=entry(dtype=["F32"])),
    "another field": lambda: of(a=entry(run="touch owned")),
    "no fields": lambda: of(a={}),
    "entry is no object": lambda: of(a=1),
    "name of 10,000 letters": lambda: of(**{"a" * 10_000: F32}),
    "name with a line break": lambda: of(**{"a\nb": F32}),
    "metadata that nests": lambda: of(a=F32, __metadata__={"x": {"y": 1}}),
    "metadata that is no object": lambda: of(a=F32, __metadata__=[1]),
    "a pickle": lambda: b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0btouch owned\x85R.",
}
