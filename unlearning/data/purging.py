"""Take images out of a data set for good: new shards without them, and the folder changes in one step. No torch.

A purge that is killed leaves the data set as it was or as it will be, and never without one: the two folders trade
places in one system call where the file system has it; where it has not, `recover` puts back what was moved aside.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unlearning import digests, files
from unlearning.data import index, manifest, neighbours, shards
from unlearning.errors import DataError, StorageError
from unlearning.workspace import Workspace

_BESIDE = ("thumbnails", "hashes")  # arrays with a row for each row of the index
_HERE = -100  # AT_FDCWD: paths are taken from the working folder
_EXCHANGE = 2  # RENAME_EXCHANGE
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


@contextmanager
def reading(workspace: Workspace, dataset: str) -> Iterator[None]:
    """Hold a data set as it is, together with every other reader. Raises StorageError while it is being changed."""
    path = lock(workspace, dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"data set {dataset!r} is being ingested or purged now; wait for it") from None
        yield


def lock(workspace: Workspace, dataset: str) -> Path:
    """The lock of a data set: ingest and purge hold it alone, whoever reads images holds it together."""
    return workspace.dataset(dataset).parent / f".{dataset}.lock"


def without(workspace: Workspace, dataset: str, gone: pa.Table, batch: str, at: str) -> int:
    """Store the data set anew, without the rows of `gone`; how many went, in this call or an earlier one for `batch`.

    Rows that share a key, the stored bytes or the pixels with one of `gone` go. The caller holds `lock`. Raises
    DataError for a damaged shard, or where nothing would be left, with the data set as it was.
    """
    folder = workspace.dataset(dataset)
    recover(folder)
    described, table = index.describe(folder), index.read(folder)
    before = described.get("purged", [])
    kept = pc.is_in(index.named(table), value_set=index.named(manifest.minus(table, gone)))
    going = len(table) - pc.sum(kept).as_py() if len(table) else 0
    if going == len(table):
        raise DataError(f"data set {dataset!r}: a purge for batch {batch} would leave no image; remove the data set")
    if going:
        note = {"batch": batch, "images": going, "at": at}
        with _new(folder) as new:
            described |= _store(folder, new, described, table, kept)
            files.write_json(new / "dataset.json", {**described, "purged": [*before, note]})
        before = [*before, note]
    return sum(int(one["images"]) for one in before if one["batch"] == batch)


def keep(workspace: Workspace, dataset: str, rows: pa.Table, home: Workspace) -> None:
    """Copy some rows to a root of their own, as a data set of the same name. Again: nothing changes."""
    source, target = workspace.dataset(dataset), home.dataset(dataset)
    if target.is_dir():
        return
    described, table = index.describe(source), index.read(source)
    wanted = pc.is_in(index.named(table), value_set=index.named(rows))
    with files.new_folder(target) as new:
        told = _store(source, new, described, table, wanted)
        shown = {name: value for name, value in described.items() if name not in ("purged", "source")}
        files.write_json(new / "dataset.json", {**shown, **told})


def features_without(workspace: Workspace, dataset: str, before: pa.Table, before_sha256: str, batch: str) -> None:
    """Take out of every feature table of a data set what the data set no longer holds; features.json counts it.

    before  the index as it was, and its sha256
    """
    folder = workspace.dataset(dataset)
    sha256 = index.describe(folder)["index_sha256"]
    rows = pc.is_in(index.named(before), value_set=index.named(index.read(folder))).to_numpy()
    for path in sorted((workspace.root / "features" / dataset).glob("*/features.json")):
        said = files.read_json(path)
        if said["index_sha256"] == before_sha256 != sha256:
            table = np.load(path.with_name("features.npy"), allow_pickle=False)
            told = {name: value for name, value in said.items() if name not in ("schema", "features_sha256")}
            notes = [*said.get("purged", []), {"batch": batch, "images": int((~rows).sum())}]
            neighbours.keep_features(path.parent, table[rows], {**told, "index_sha256": sha256, "purged": notes})


def features_left(workspace: Workspace, dataset: str, batch: str) -> tuple[int, int]:
    """Rows that were taken out for a batch; tables removed whole now, because the index they are of is gone.

    Such a table is read by nobody, and `unlearning embed` makes it again.
    """
    sha256 = index.describe(workspace.dataset(dataset))["index_sha256"]
    rows = stale = 0
    for path in sorted((workspace.root / "features" / dataset).glob("*/features.json")):
        said = files.read_json(path)
        if said["index_sha256"] != sha256:
            shutil.rmtree(path.parent)
            stale += 1
        else:
            rows += sum(int(one["images"]) for one in said.get("purged", []) if one["batch"] == batch)
    return rows, stale


def recover(folder: Path) -> None:
    """Put back the data set that a killed purge had moved aside, and remove what it left. The caller holds `lock`."""
    aside = folder.with_name(f".{folder.name}.aside")
    if aside.is_dir() and not folder.exists():
        aside.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(_place(folder), ignore_errors=True)


def _place(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.purging")


@contextmanager
def _new(folder: Path) -> Iterator[Path]:
    """A folder to fill, which then takes the place of `folder`; the old one is removed last."""
    new = _place(folder)
    new.mkdir()
    try:
        yield new
        for path in sorted(new.rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            else:
                files.sync_folder(path)
        files.sync_folder(new)
        trade(new, folder)
        files.sync_folder(folder.parent)
    except OSError as error:
        raise files.refused(error, folder) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def trade(new: Path, old: Path) -> None:
    """Let two folders trade their names: in one step where the file system can, else in two that `recover` finishes."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        if rename(_HERE, os.fsencode(new), _HERE, os.fsencode(old), _EXCHANGE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _NO_EXCHANGE:
            raise OSError(code, os.strerror(code), str(old))
    aside = old.with_name(f".{old.name}.aside")
    old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside)


def _store(
    folder: Path, new: Path, described: dict[str, Any], table: pa.Table, kept: pa.BooleanArray
) -> dict[str, Any]:
    """Fill `new` with the kept rows of a data set; what dataset.json says of them."""
    (new / "shards").mkdir()
    stored, parts = list[dict[str, Any]](), list[pa.Table]()
    for shard in described["shards"]:
        here = pc.equal(table["shard"], shard["file"])
        rows = table.filter(pc.and_(here, kept))
        if len(rows) == pc.sum(here).as_py():
            files.link_or_copy(folder / "shards" / shard["file"], new / "shards" / shard["file"])
            stored.append(shard)
        elif len(rows):
            path = new / "shards" / shard["file"]
            rows = _shard(folder / "shards" / shard["file"], path, rows)
            stored.append({"file": path.name, "bytes": path.stat().st_size, "sha256": digests.of_file(path)})
        parts.append(rows)
    order = pc.index_in(index.named(table.filter(kept)), value_set=index.named(pa.concat_tables(parts)))
    rows = pa.concat_tables(parts).take(order)  # in the order of the index, as the arrays beside it
    index.write(new / "index.parquet", rows)
    told: dict[str, Any] = {"index_sha256": digests.of_file(new / "index.parquet")}
    for name in _BESIDE:
        if f"{name}_sha256" in described:
            array = np.load(folder / f"{name}.npy", allow_pickle=False)
            np.save(new / f"{name}.npy", array[kept.to_numpy(zero_copy_only=False)], allow_pickle=False)
            told[f"{name}_sha256"] = digests.of_file(new / f"{name}.npy")
    counted = {
        "images": len(rows),
        "splits": dict(Counter(rows["split"].to_pylist())),
        "classes": dict(sorted(Counter(rows["class"].to_pylist()).items())),
        "subjects": len({subject for subject in rows["subject"].to_pylist() if subject}),
    }
    return {**told, **counted, "shards": stored}


def _shard(source: Path, target: Path, rows: pa.Table) -> pa.Table:
    """Copy the samples of `rows`; the rows, with the place they have now. Raises DataError for a damaged shard."""
    wanted = dict(zip(rows["key"].to_pylist(), rows["sha256"].to_pylist(), strict=True))
    scratch = target.parent / ".writing"
    scratch.mkdir()
    with shards.Writer(scratch, "one") as writer:
        for sample in shards.samples(source):
            if sample.key in wanted:
                writer.add(sample.key, {extension: member.content for extension, member in sample.members.items()})
    (written,) = writer.paths  # no more than was in one shard
    written.rename(target)
    scratch.rmdir()
    places = {}
    for sample in shards.samples(target):
        picture = next(member for extension, member in sample.members.items() if extension != "json")
        if digests.of_bytes(picture.content) != wanted[sample.key]:
            raise DataError(f"{source.name}: key {sample.key!r} holds other bytes than the index says; ingest again")
        places[sample.key] = picture.offset
    missing = wanted.keys() - places.keys()
    if missing:
        raise DataError(f"{source.name}: {len(missing)} images of the index are not in it; ingest again")
    offsets = pa.array([places[key] for key in rows["key"].to_pylist()], pa.int64())
    return rows.set_column(rows.schema.get_field_index("offset"), rows.schema.field("offset"), offsets)
