"""A source becomes shards, index.parquet and dataset.json: all of them or nothing. Run again: reused."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from unlearning import digests, files
from unlearning.data import decoding, index, pictures, shards, tombstones
from unlearning.data.sources import Item, Source, Split
from unlearning.data.tombstones import Tier, Tombstones
from unlearning.errors import DataError
from unlearning.log import Log, Progress

HOLDOUT_SHARE = 0.2  # of each class, where the source has no split of its own
_SAFE_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RESERVED = frozenset({"null", "none", "nil", "true", "false", "yes", "no", "nan", "inf", "infinity", "undefined"})
_LOG_EVERY = 500  # images between progress lines


@dataclass(frozen=True, slots=True)
class Ingested:
    """What lies in the data set's folder now."""

    described: dict[str, Any]  # dataset.json
    reused: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the first walk learnt of one item."""

    key: str
    sha256: str
    pixel_sha256: str
    label: str
    width: int
    height: int
    thumbnail: bytes
    perceptual: bytes
    split: Split | None


def ingest(source: Source, name: str, folder: Path, log: Log, gone: Tombstones | None = None) -> Ingested:
    """Store `source` as the data set `name`. Raises DataError naming shard and member, with the folder as it was.

    gone  what was forgotten under this root: it is left out, counted and never named
    """
    facts = source.facts
    held = _held(folder)
    if held is not None:
        if held["source"] != facts:
            raise DataError(
                f"{folder}: data set {name!r} holds another source ({held['source'].get('kind')}, {held['images']} "
                "images); choose another --name, or remove that folder"
            )
        if _whole(folder, held):
            log(Progress("ingest", 0, 0, note=f"reused, {name!r} holds this very source already"))
            return Ingested(held, reused=True)
    # Before anything is created: most of what can be wrong with a source is found here.
    seen, left_out = _survey(source, log, gone)
    keys, splits = _keys(name, seen), _splits(seen)
    with files.locked(folder.parent / f".{name}.lock", f"data set {name}"), files.new_folder(folder) as partial:
        files.sweep(folder, but=partial)
        table, stored = _store(_rest(source, left_out), name, seen, keys, splits, partial, log)
        index.write(partial / "index.parquet", table)
        described = _description(name, facts, table, stored, partial)
        described |= {"forgotten_before": dict(Counter(left_out.values()))} if left_out else {}
        files.write_json(partial / "dataset.json", described)
    return Ingested(described, reused=False)


def _survey(source: Source, log: Log, gone: Tombstones | None) -> tuple[list[_Seen], dict[int, Tier]]:
    """What is to be stored, and the places in the source of what must not be."""
    seen, left_out, total = list[_Seen](), dict[int, Tier](), len(source)
    for number, (item, image) in enumerate(decoding.decoded(source)):
        pixels, content = pictures.pixel_sha256(image), digests.of_bytes(item.content)
        tier = None if gone is None else gone.tier(content, pixels, image)
        if tier is not None:
            left_out[number] = tier
        else:
            small, perceptual = pictures.thumbnail(image), tombstones.perceptual_hash(image).tobytes()
            shape = (image.width, image.height)
            seen.append(_Seen(item.key, content, pixels, item.label, *shape, small, perceptual, item.split))
        if (number + 1) % _LOG_EVERY == 0 or number + 1 == total:
            log(Progress("look at images", number + 1, total))
    if left_out:
        counts = ", ".join(f"{count} by {tier}" for tier, count in sorted(Counter(left_out.values()).items()))
        log(Progress("look at images", total, total, note=f"left out as forgotten before: {counts}"))
    if not seen:
        why = "everything in it was forgotten before" if left_out else "it holds no picture"
        raise DataError(f"the source has nothing to ingest: {why}")
    return seen, left_out


def _rest(source: Source, left_out: Mapping[int, Tier]) -> Iterator[Item]:
    return (item for number, item in enumerate(source) if number not in left_out)


def _keys(name: str, seen: list[_Seen]) -> list[str]:
    """The source's own keys where every one is plain and unique; else numbers: a file name may be somebody's name."""
    own = [item.key for item in seen]
    plain = all(_SAFE_KEY.fullmatch(key) and key.lower() not in _RESERVED for key in own)
    if plain and len(set(own)) == len(own):
        return own
    return [f"{name}-{number:06d}" for number in range(len(seen))]


def _splits(seen: list[_Seen]) -> list[Split]:
    """A split an item. The same pixels are always on one side, so a holdout image was never trained on as a copy."""
    if any(item.split is not None for item in seen):
        trained = {item.pixel_sha256 for item in seen if item.split != "holdout"}
        return ["train" if item.pixel_sha256 in trained else "holdout" for item in seen]
    of_class = defaultdict[str, dict[str, None]](dict)
    first_label = dict[str, str]()
    for item in seen:
        of_class[first_label.setdefault(item.pixel_sha256, item.label)][item.pixel_sha256] = None
    held_out = set[str]()
    for pixels in of_class.values():  # a hash is as good as a draw, and needs no seed to be repeated
        ranked = sorted(pixels, key=lambda digest: digests.of_bytes(f"holdout {digest}".encode()))
        held_out.update(ranked[: round(HOLDOUT_SHARE * len(ranked))])
    return ["holdout" if item.pixel_sha256 in held_out else "train" for item in seen]


def _store(
    source: Iterable[Item], name: str, seen: list[_Seen], keys: list[str], splits: list[Split], folder: Path, log: Log
) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Write the shards, one series a split, and index what was written by reading it back."""
    home = folder / "shards"
    home.mkdir()
    with shards.Writer(home, "train") as train, shards.Writer(home, "holdout") as holdout:
        for number, item in enumerate(source):
            if number >= len(seen) or digests.of_bytes(item.content) != seen[number].sha256:
                raise DataError(f"{item.origin}: changed while it was read; ingest again when the source is at rest")
            said = {"class": item.label, "subject": item.subject, "source": item.origin}
            members = {_extension(item): item.content, "json": files.canonical(said)}
            (train if splits[number] == "train" else holdout).add(keys[number], members)
            if (number + 1) % _LOG_EVERY == 0 or number + 1 == len(seen):
                log(Progress("store images", number + 1, len(seen)))
    columns, stored = defaultdict[str, list[Any]](list), list[dict[str, Any]]()
    small, perceptual = bytearray(), bytearray()
    number_of = {key: number for number, key in enumerate(keys)}
    for path in (*train.paths, *holdout.paths):
        for sample in shards.samples(path):
            number = number_of[sample.key]
            _index_row(columns, sample, seen[number], name, path.name, splits[number])
            small += seen[number].thumbnail
            perceptual += seen[number].perceptual
        stored.append({"file": path.name, "bytes": path.stat().st_size, "sha256": digests.of_file(path)})
    if len(columns["key"]) != len(seen):
        raise DataError(f"the source gave {len(seen)} pictures, then {len(columns['key'])}: it is being changed")
    thumbnails = np.frombuffer(bytes(small), dtype=np.uint8).reshape(-1, pictures.THUMBNAIL**2)
    np.save(folder / "thumbnails.npy", thumbnails, allow_pickle=False)
    hashes = np.frombuffer(bytes(perceptual), dtype=np.uint8).reshape(len(thumbnails), -1)
    np.save(folder / "hashes.npy", hashes, allow_pickle=False)
    return pa.table(dict(columns), schema=index.COLUMNS), stored


def _extension(item: Item) -> str:
    return item.extension if item.extension in pictures.EXTENSIONS else "png"


def _index_row(
    columns: dict[str, list[Any]], sample: shards.Sample, seen: _Seen, dataset: str, shard: str, split: str
) -> None:
    said = json.loads(sample.members["json"].content)
    picture = next(member for extension, member in sample.members.items() if extension != "json")
    row = {
        "key": sample.key,
        "dataset": dataset,
        "shard": shard,
        "offset": picture.offset,
        "bytes": len(picture.content),
        "sha256": digests.of_bytes(picture.content),
        "pixel_sha256": seen.pixel_sha256,
        "class": said["class"],
        "subject": said["subject"],
        "width": seen.width,
        "height": seen.height,
        "split": split,
    }
    for column, value in row.items():
        columns[column].append(value)


def _description(
    name: str, facts: dict[str, Any], table: pa.Table, stored: list[dict[str, Any]], folder: Path
) -> dict[str, Any]:
    subjects = {subject for subject in table["subject"].to_pylist() if subject}
    return {
        "schema": index.SCHEMA_NAME,
        "name": name,
        "index_sha256": digests.of_file(folder / "index.parquet"),
        "thumbnails_sha256": digests.of_file(folder / "thumbnails.npy"),
        "hashes_sha256": digests.of_file(folder / "hashes.npy"),
        "images": len(table),
        "splits": dict(Counter(table["split"].to_pylist())),
        "classes": dict(sorted(Counter(table["class"].to_pylist()).items())),
        "subjects": len(subjects),
        "source": facts,
        "shards": stored,
    }


def _held(folder: Path) -> dict[str, Any] | None:
    if not folder.exists():
        return None
    try:
        return index.describe(folder)
    except DataError:
        if any(folder.iterdir()):
            raise DataError(f"{folder}: holds something that is not a data set; choose another --name") from None
        return None


def _whole(folder: Path, held: dict[str, Any]) -> bool:
    """Whether the files are still the described ones; a damaged copy is made anew."""
    wanted = {(f"shards/{shard['file']}", shard["sha256"]) for shard in held["shards"]}
    wanted |= {("index.parquet", held["index_sha256"]), ("thumbnails.npy", held.get("thumbnails_sha256"))}
    if "hashes_sha256" in held:  # data sets of the earlier release have none
        wanted.add(("hashes.npy", held["hashes_sha256"]))
    return wanted <= {(file.path, file.sha256) for file in digests.of_folder(folder)}
