"""One row of a training trace, and how rows are chained. No torch, no file.

    h_0 = SHA256(what the run is a function of, canonical JSON)      h_k = SHA256(h_{k-1} || row_k)

    row_k, 96 bytes, big-endian:
        8  k                                   steps done with this one
       32  SHA256("forget" || n || tokens)     of the n images to forget that the step read, over all processes
       32  SHA256("retain" || n || tokens)     of those to keep
        8  loss, IEEE 754 double               a float32 loss keeps its bits
        8  learning rate
        8  norm of the gradient before clipping

A token is HMAC-SHA256(K, sha256 of the image's stored bytes) and one byte, 1 if it was mirrored; tokens are sorted. K
is SHA256 over the sha256 of every image that the run could draw: who holds the run's manifests can compute it, wherever
they are, and who holds the checkpoint alone cannot try whether an image was in a batch. A trace is the same bytes
wherever the same run is made, as the weights are. (Jia et al., "Proof-of-Learning", IEEE S&P 2021; what it cannot show:
infra/decisions/0026-training-trace.md)
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import Any, Literal, NamedTuple, TypeAlias

from unlearning import files

SCHEMA = "training-trace/1"
BYTES = 96  # a row

SetName: TypeAlias = Literal["forget", "retain"]

_ROW = Struct(">Q32s32sddd")


class Row(NamedTuple):
    """One step."""

    step: int  # done with this one
    forget: bytes  # 32
    retain: bytes  # 32
    loss: float
    learning_rate: float
    gradient_norm: float

    def packed(self) -> bytes:
        """96 bytes."""
        return _ROW.pack(*self)

    @classmethod
    def parsed(cls, row: bytes) -> Row:
        """Back from 96 bytes."""
        return cls._make(_ROW.unpack(row))


@dataclass(frozen=True, slots=True)
class Part:
    """One run of the loop: the only one of most checkpoints, or a first stage, or a member of a sharded one."""

    name: str
    start: dict[str, Any]  # JSON: what the run is a function of
    rows: bytes
    states: dict[int, Path] = field(default_factory=dict)  # steps done -> a state that is kept beside the weights


def run_key(sets: Iterable[Sequence[str]]) -> bytes:
    """K: of the sha256 (hex) of every image of each set, each once. 32 bytes."""
    whole = sha256(b"unlearning/training-trace-key/1")
    for images in sets:
        whole.update(sha256(b"".join(sorted({bytes.fromhex(one) for one in images}))).digest())
    return whole.digest()


def key_id(key: bytes) -> str:
    """The name of K, hex: it says nothing about K."""
    return sha256(b"unlearning/training-trace-key-id/1" + key).hexdigest()


def tokens(key: bytes, images: Iterable[str]) -> list[bytes]:
    """Of the images with these sha256 (hex), 32 bytes each, in their order."""
    return [hmac.digest(key, bytes.fromhex(one), "sha256") for one in images]


def of_set(tokens: Sequence[bytes]) -> dict[str, Any]:
    """What h_0 says of a set: how many rows, and SHA256 of its sorted distinct tokens."""
    return {"images": len(tokens), "tokens_sha256": sha256(b"".join(sorted(set(tokens)))).hexdigest()}


def of_batch(name: SetName, tokens: Iterable[bytes]) -> bytes:
    """What a row says of the images of one set: 32 bytes, whatever their order."""
    ordered = sorted(tokens)
    return sha256(name.encode() + len(ordered).to_bytes(8, "big") + b"".join(ordered)).digest()


def chain(start: Mapping[str, Any], rows: Iterable[bytes]) -> Iterator[bytes]:
    """h_0, then h_k after every packed row."""
    h = sha256(files.canonical(dict(start))).digest()
    yield h
    for row in rows:
        h = sha256(h + row).digest()
        yield h


def split(rows: bytes) -> list[bytes]:
    """Row by row; the last one is short where the file is."""
    return [rows[at : at + BYTES] for at in range(0, len(rows), BYTES)]
