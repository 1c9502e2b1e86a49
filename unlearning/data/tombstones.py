"""What must never come back: keyed hashes of every image that a served model has forgotten. No torch.

    <root>/tombstones/<batch>.parquet    bytes = HMAC-SHA256(K, "bytes" || sha256 of the stored bytes)
                                         pixels = HMAC-SHA256(K, "pixels" || sha256 of size and decoded RGB)
    <root>/keys/tombstones.key           K: without it a tombstone says nothing about any image

Kept for ever, so that a later ingest cannot bring back what somebody asked to have forgotten: the same bytes and every
lossless re-encoding are known again for certain. What was re-encoded with loss is known by a perceptual hash alone,
which is kept only where `tombstones.perceptual` says so: it has no key, since near must stay near, and is therefore
personal data that stays. Whoever asked is still owed it after a rollback, so nothing here is ever taken back.
"""

from __future__ import annotations

import hmac
import io
import os
import secrets
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from unlearning import files
from unlearning.data import index, pictures
from unlearning.errors import DataError, EvidenceError
from unlearning.workspace import Workspace

Tier: TypeAlias = Literal["bytes", "pixels", "near"]

TIERS: tuple[Tier, ...] = ("bytes", "pixels", "near")
_TOKEN = pa.binary(32)
_HASH = 8  # bytes of a perceptual hash
_NONE: npt.NDArray[np.uint8] = np.empty((0, _HASH), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Everything that must stay out of one root."""

    key: bytes
    tokens: frozenset[bytes]
    near: npt.NDArray[np.uint8]  # [N, 8] perceptual hashes, 64 bits each
    within: int  # bits two hashes may differ by

    def tier(self, sha256: str, pixel_sha256: str, image: Image.Image) -> Tier | None:
        """How a picture is known: by its bytes, its pixels, or as near to one; None of one that may be stored."""
        if self.has_bytes(sha256):
            return "bytes"
        if self.has_pixels(pixel_sha256):
            return "pixels"
        if len(self.near) and distances(perceptual_hash(image), self.near).min() <= self.within:
            return "near"
        return None

    def has_bytes(self, sha256: str) -> bool:
        """Whether these stored bytes were forgotten."""
        return token(self.key, "bytes", sha256) in self.tokens

    def has_pixels(self, pixel_sha256: str) -> bool:
        """Whether these pixels were forgotten."""
        return token(self.key, "pixels", pixel_sha256) in self.tokens


def read(workspace: Workspace, batches: Collection[str] | None = None) -> Tombstones | None:
    """Every tombstone of a root, or of some batches; None where nothing was forgotten yet. Raises EvidenceError."""
    paths = sorted(path for path in _home(workspace).glob("*.parquet") if batches is None or path.stem in batches)
    if not paths:
        return None
    key, tokens, near, within = _key(workspace, make=False), set[bytes](), [_NONE], 0
    for path in paths:
        table = _table(path)
        for name in ("bytes", "pixels"):
            tokens.update(table[name].to_pylist())
        if "near" in table.column_names:
            near.append(np.frombuffer(b"".join(table["near"].to_pylist()), dtype=np.uint8).reshape(-1, _HASH))
            within = max(within, int((table.schema.metadata or {}).get(b"within", b"0")))
    return Tombstones(key, frozenset(tokens), np.concatenate(near), within)


def add(workspace: Workspace, batch: str, forget: pa.Table, within: int | None) -> None:
    """Remember what `batch` forgot; again: nothing changes.

    within  bits by which two perceptual hashes of the same picture may differ; None keeps no such hash
    Raises DataError where a stored image is needed for its perceptual hash and is damaged.
    """
    key = _key(workspace, make=True)
    columns = {
        name: pa.array([token(key, name, value) for value in forget[column].to_pylist()], _TOKEN)
        for name, column in (("bytes", "sha256"), ("pixels", "pixel_sha256"))
    }
    table = pa.table(columns)
    if within is not None:
        hashes = [perceptual_hash(image).tobytes() for image in images(workspace, forget)]
        table = table.append_column("near", pa.array(hashes, pa.binary(_HASH)))
        table = table.replace_schema_metadata({"within": str(within)})
    # By token: the order of a manifest would tell which token is whose.
    sink = io.BytesIO()
    pq.write_table(table.sort_by("pixels"), sink, compression="zstd", version="2.6")
    path = _home(workspace) / f"{batch}.parquet"
    with _alone(workspace):
        files.sweep(path)
        if not path.is_file() or path.read_bytes() != sink.getvalue():
            files.write_bytes(path, sink.getvalue())


def perceptual_hash(image: Image.Image) -> npt.NDArray[np.uint8]:
    """[8] uint8, 64 bits: the signs of the lowest frequencies of the grey picture (pHash, as imagehash has it)."""
    import imagehash  # not where nothing but tokens is compared

    return np.packbits(imagehash.phash(pictures.as_rgb(image)).hash.reshape(-1))


def distances(one: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """[N] bits by which one hash [8] differs from others [N, 8]."""
    bits: npt.NDArray[np.int64] = np.unpackbits(others ^ one, axis=1).sum(axis=1, dtype=np.int64)
    return bits


def images(workspace: Workspace, table: pa.Table) -> Iterable[Image.Image]:
    """The stored pictures of a table's rows, as they were indexed. Raises DataError for a damaged one."""
    columns = ("dataset", "shard", "key", "offset", "bytes", "sha256")
    for row in table.select(columns).to_pylist():
        path = index.shard_path(workspace, row["dataset"], row["shard"])
        where = f"data set {row['dataset']!r}, shard {row['shard']}, key {row['key']!r}"
        try:
            with path.open("rb") as shard:
                shard.seek(row["offset"])
                content = shard.read(row["bytes"])
        except OSError:
            raise DataError(f"{path}: there is no such shard; ingest data set {row['dataset']!r} again") from None
        yield pictures.verified(content, row["sha256"], where)


def _table(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
        if {"bytes", "pixels"} <= set(table.column_names):
            return table
    except (OSError, pa.ArrowException):
        pass
    raise EvidenceError(f"{path}: not a file of tombstones; restore it, or what was forgotten may be ingested again")


def token(key: bytes, what: str, value: str) -> bytes:
    """The tombstone of one hash; `what` is `bytes` or `pixels`."""
    return hmac.digest(key, f"{what} {value}".encode(), "sha256")


def _key(workspace: Workspace, make: bool) -> bytes:
    path = workspace.root / "keys" / "tombstones.key"
    with _alone(workspace):
        files.sweep(path)
        if not path.is_file():
            if not make or any(_home(workspace).glob("*.parquet")):
                raise EvidenceError(
                    f"{path}: there is no such key, and without it no tombstone of this root says anything; restore it"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            before = os.umask(0o077)
            try:
                files.write_bytes(path, secrets.token_bytes(32))
            finally:
                os.umask(before)
        return path.read_bytes()


def _alone(workspace: Workspace) -> AbstractContextManager[None]:
    return files.locked(workspace.root / "keys" / ".tombstones.lock", "the tombstones", wait=True)


def _home(workspace: Workspace) -> Path:
    return workspace.root / "tombstones"
