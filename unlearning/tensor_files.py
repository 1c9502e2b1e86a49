"""The header of a safetensors file, checked before any library parses it: nothing of a foreign file is believed unread.

    8 bytes, little-endian N;  N bytes of JSON {name: {"dtype", "shape", "data_offsets": [begin, end]}};  the data

https://github.com/huggingface/safetensors (format). A header may claim 100 MB and 700,000 tensors, which costs seconds
and gigabytes to parse before a single weight is looked at.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from unlearning import json_text
from unlearning.errors import CheckpointError

LONGEST_HEADER = 8 * 2**20  # bytes: published headers have a few 100 kB (1,000 tensors: 100 kB); 8 MiB hold 60,000
MOST_TENSORS = 65_536
MOST_DIMENSIONS = 8
LONGEST_NAME = 512  # characters
# Bits would do, were there any of less than a byte: those formats hold no weights that a network here reads.
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_LENGTH = 8  # bytes that say how long the header is
_FIELDS = {"dtype", "shape", "data_offsets"}


def check(source: Path | bytes, where: str) -> list[str]:
    """The names of the tensors, in the order of the header. Raises CheckpointError naming `where`.

    What is checked: lengths and counts, types, shapes, and that the data of the tensors fill the file: no gap, no
    overlap, nothing behind them. Raises OSError where a path cannot be read.
    """
    if isinstance(source, bytes):
        return _names(io.BytesIO(source), len(source), where)
    with source.open("rb") as file:
        return _names(file, os.fstat(file.fileno()).st_size, where)


def _names(file: BinaryIO, size: int, where: str) -> list[str]:
    try:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if not 2 <= length <= min(LONGEST_HEADER, size - _LENGTH):
            raise ValueError(f"a header of {length} bytes in a file of {size}; at most {LONGEST_HEADER} are read")
        header = json_text.parse(file.read(length), deepest=4, longest=LONGEST_HEADER)
        if not isinstance(header, dict):
            raise ValueError("a header that is no object")
        _refuse_other_metadata(header.pop("__metadata__", {}))
        if len(header) > MOST_TENSORS:
            raise ValueError(f"{len(header)} tensors; at most {MOST_TENSORS} are read")
        _refuse_other_data(header, size - _LENGTH - length)
    except ValueError as error:
        raise CheckpointError(f"{where}: not a safetensors file ({error})") from None
    return list(header)


def _refuse_other_metadata(metadata: Any) -> None:
    if not (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
        raise ValueError("a __metadata__ that is not text by name")


def _refuse_other_data(header: Mapping[str, Any], size: int) -> None:
    """Refuse data that do not fill `size` bytes, one tensor after another."""
    end = 0
    for begins, ends, name in sorted((*_offsets(name, entry), name) for name, entry in header.items()):
        if begins != end:
            raise ValueError(f"{name!r} begins at byte {begins}, where {end} is right")
        end = begins + _bytes(name, header[name])
        if ends != end:
            raise ValueError(f"{name!r} ends at byte {ends}, where its shape says {end}")
    if end != size:
        raise ValueError(f"tensors of {end} bytes, and {size} of data")


def _offsets(name: str, entry: Any) -> tuple[int, int]:
    """Where the data of one tensor begin and end, after its entry was found to be one."""
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a name that is no line of at most {LONGEST_NAME} characters")
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise ValueError(f"{name!r} has other fields than {', '.join(sorted(_FIELDS))}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _counts(shape) or len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"{name!r} has a shape that is no list of at most {MOST_DIMENSIONS} sizes")
    if not _counts(offsets) or len(offsets) != 2:
        raise ValueError(f"{name!r} has data_offsets that are no two places")
    return offsets[0], offsets[1]


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _bytes(name: str, entry: Mapping[str, Any]) -> int:
    kind = entry["dtype"]
    if not isinstance(kind, str) or kind not in BYTES:
        raise ValueError(f"{name!r} is of a type that is none of {', '.join(BYTES)}")
    return int(math.prod(entry["shape"])) * BYTES[kind]
