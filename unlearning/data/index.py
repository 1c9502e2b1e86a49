"""index.parquet: one row a stored image, and dataset.json beside it. No torch.

<root>/data/<name>/   dataset.json   index.parquet   thumbnails.npy   hashes.npy   shards/train-000000.tar, …

Thumbnails and perceptual hashes are no columns of the index: its rows become manifests, which travel further than
images may.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearning import digests, files
from unlearning.errors import DataError, StorageError
from unlearning.workspace import Workspace

SCHEMA_NAME = "dataset/1"
COLUMNS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),  # unique within the data set, opaque
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),  # file name below shards/
        pa.field("offset", pa.int64(), nullable=False),  # of the stored bytes inside the shard
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),  # of the stored bytes
        pa.field("pixel_sha256", pa.string(), nullable=False),  # of size and decoded RGB
        pa.field("class", pa.string(), nullable=False),  # "" = the source has none
        pa.field("subject", pa.string(), nullable=False),  # "" = the source has none
        pa.field("width", pa.int32(), nullable=False),  # pixels
        pa.field("height", pa.int32(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # "train" | "holdout": no training ever sees a holdout row
    ]
)
# Of a Parquet file's footer, which is held to this before it is read: 1,880 bytes that claimed a million parts took
# 430 MiB. Parts are columns, or groups of 2^17 rows, so a thousand million rows fit; text is a name, a bound or a note.
FOOTER = {"thrift_container_size_limit": 10_000, "thrift_string_size_limit": 2**20}
Filters: TypeAlias = list[tuple[str, str, Any]] | list[list[tuple[str, str, Any]]]
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Count = Annotated[int, Field(ge=0)]


class _Shard(BaseModel):
    model_config = ConfigDict(strict=True)

    file: Annotated[str, Field(pattern=rf"^{_PLAIN.pattern}$")]  # it becomes a part of a path
    bytes: _Count
    sha256: _Sha256


class _Description(BaseModel):
    """What is read of dataset.json; what only tells its reader where the images came from is not looked at."""

    model_config = ConfigDict(strict=True)

    index_sha256: _Sha256
    images: _Count
    splits: dict[str, _Count]
    classes: dict[str, _Count]
    shards: list[_Shard]


def read(folder: Path) -> pa.Table:
    """The index of one ingested data set, checked against dataset.json. Raises DataError."""
    described = describe(folder)
    path = folder / "index.parquet"
    try:
        found = digests.of_file(path)
        if found != described.get("index_sha256"):
            raise DataError(f"{path}: sha256 {found[:12]} is not the one in dataset.json; ingest the source again")
        table = pq.read_table(path, schema=COLUMNS, **FOOTER)
    except OSError:
        raise DataError(f"{path}: there is no such index; ingest the source again") from None
    except pa.ArrowException as error:
        raise DataError(f"{path}: not an index ({' '.join(str(error).split())[:120]}); ingest again") from None
    return table


def columns(path: Path, *names: str, filters: Filters | None = None) -> pa.Table:
    """Some columns of one of our tables (an index, a manifest, a report's), all of them without a name.

    filters  as `pyarrow.parquet.read_table` takes them
    Raises DataError where it is gone or damaged, or a column is missing.
    """
    try:
        return pq.read_table(path, columns=list(names) or None, filters=filters, **FOOTER)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such table; restore it") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not the table it was ({' '.join(str(error).split())[:120]}); restore it") from None


def named(table: pa.Table) -> pa.ChunkedArray:
    """Data set and key of each row as one text: keys are unique within their data set only."""
    return pc.binary_join_element_wise(table["dataset"], table["key"], "\n")


def describe(folder: Path) -> dict[str, Any]:
    """dataset.json: name, counts, source facts, and the sha256 of the index and of every shard. Raises DataError."""
    try:
        tree = files.read_json(folder / "dataset.json")
    except StorageError:
        raise DataError(
            f"{folder}: there is no ingested data set; run `unlearning ingest SOURCE --name {folder.name}` first"
        ) from None
    return described(tree, str(folder / "dataset.json"))


def described(tree: Any, where: str) -> dict[str, Any]:
    """`describe`, of the file's JSON. Raises DataError naming the first place that is not what it must be."""
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA_NAME:
        raise DataError(f"{where}: not a {SCHEMA_NAME} description; ingest the source again")
    try:
        _Description.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))[:80]
        raise DataError(f"{where}: {place!r} is not what ingest writes ({first['msg']}); ingest again") from None
    return tree


def thumbnails(folder: Path) -> npt.NDArray[np.uint8]:
    """[N, 64] uint8, a row for each row of the index (unlearning/data/pictures.py). Raises DataError."""
    path, wanted = folder / "thumbnails.npy", describe(folder).get("thumbnails_sha256")
    try:
        content = path.read_bytes()
    except OSError:
        raise DataError(f"{path}: there are no such thumbnails; ingest the source again") from None
    if digests.of_bytes(content) != wanted:
        raise DataError(f"{path}: its sha256 is not the one in dataset.json; ingest the source again")
    found: npt.NDArray[np.uint8] = np.load(io.BytesIO(content), allow_pickle=False)
    return found


def write(path: Path, table: pa.Table) -> None:
    """A table of image rows as Parquet: the same table gives the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", version="2.6", store_schema=False, row_group_size=2**17)
    files.write_bytes(path, sink.getvalue().to_pybytes())


def shard_path(workspace: Workspace, dataset: str, shard: str) -> Path:
    """Where a shard lies. Raises DataError for names that are not plain: they come from a file."""
    if not (_PLAIN.fullmatch(dataset) and _PLAIN.fullmatch(shard)):
        raise DataError(f"shard {shard[:80]!r} of data set {dataset[:80]!r}: not plain names, the index was changed")
    return workspace.dataset(dataset) / "shards" / shard
