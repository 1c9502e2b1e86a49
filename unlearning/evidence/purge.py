"""What was removed of a batch after its promotion, what is left and until when: `<batch>/purge/`. No torch.

    purge.json   a line a location: how many copies were found, removed, are left, until when, and why
    progress.json the same while a purge is under way; what was killed is finished from it
    files.json   what was taken out of hashed assets, each with the sha256 that its record and the certificate name
    near.parquet images that stay and are near duplicates of what went: no later batch may keep or teach them
    kept/        the images, as long as they are kept for measuring; laid out as a root of its own

Neither of the first two names an image. An asset whose missing files are exactly those of files.json still verifies;
which files may be missing at all is written here, and no report, manifest or certificate is among them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from unlearning import digests, files
from unlearning.digests import FileDigest
from unlearning.errors import EvidenceError, StorageError
from unlearning.workspace import BatchFolder

SCHEMA = "purge/1"
FILES = "purged-files/1"
KEPT = "kept_for_measuring"  # the location of the images that later batches are measured by
Method: TypeAlias = Literal["rewrite", "delete", "gc", "none"]

_METHODS = ("rewrite", "delete", "gc", "none")
_CODE = re.compile(r"[a-z0-9_]{1,64}")
_OF_REPORT = (
    "per_image.parquet",
    "likelihood.parquet",
    "earlier.parquet",
    "report.html",
    "figures/pictures.png",
)
_CHECKPOINTS = ("original_checkpoint", "reference_checkpoint", "unlearned_checkpoint")


@dataclass(frozen=True, slots=True)
class Location:
    """One place: copies found there, over every call, and what became of them."""

    location: str  # a code
    method: Method
    found: int
    removed: int
    remaining: int
    verified_at: str | None  # RFC 3339; None where nobody looked
    expires_at: str | None  # when what remains goes
    why: str | None  # a code: why something remains, or why nobody looked


@dataclass(frozen=True, slots=True)
class Scan:
    """The look over everything afterwards."""

    files: int = 0
    bytes: int = 0
    hits: int = 0


@dataclass(frozen=True, slots=True)
class Purged:
    """purge.json."""

    batch: str
    model: str
    status: str  # complete | partial
    started_at: str
    finished_at: str
    tool: Mapping[str, Any]
    locations: tuple[Location, ...]
    scan: Scan

    def at(self, code: str) -> Location | None:
        """What is said of one location."""
        return next((one for one in self.locations if one.location == code), None)

    @property
    def expires(self) -> tuple[str, ...]:
        """The moments at which something that remains goes."""
        return tuple(sorted(one.expires_at for one in self.locations if one.remaining and one.expires_at is not None))


@dataclass(frozen=True, slots=True)
class Gone:
    """One file that was taken out of a hashed asset: listed before it is removed."""

    asset: str
    path: str
    sha256: str
    bytes: int
    md5: str  # DVC's name of the same bytes: a purge that was killed finds the object by it


def folder(batch: BatchFolder) -> Path:
    """Where everything of a batch's purge lies."""
    return batch.path / "purge"


def file(batch: BatchFolder) -> Path:
    """purge.json."""
    return folder(batch) / "purge.json"


def kept(batch: BatchFolder) -> Path:
    """The root of what is kept for measuring."""
    return folder(batch) / "kept"


def near(batch: BatchFolder) -> Path:
    """Rows that stay and are near to what went, Parquet."""
    return folder(batch) / "near.parquet"


def begun(batch: BatchFolder) -> bool:
    """Whether it was begun: then nothing of the batch is made again, and it is not rolled back."""
    return file(batch).is_file() or _progress(batch).is_file()


def status(locations: Sequence[Location], scan: Scan) -> str:
    """`complete` where nothing remains but what has an end, and the scan found nothing."""
    left = any(one.remaining and one.expires_at is None for one in locations)
    return "partial" if left or scan.hits else "complete"


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def note(batch: BatchFolder, purged: Purged) -> None:
    """How far it has come, in one step."""
    files.write_json(_progress(batch), {"schema": SCHEMA, **asdict(purged)})


def write(batch: BatchFolder, purged: Purged) -> None:
    """Replace purge.json in one step: the purge ended, whatever it left."""
    files.write_json(file(batch), {"schema": SCHEMA, **asdict(purged)})
    end(batch)


def end(batch: BatchFolder) -> None:
    """purge.json says all that there is to say."""
    _progress(batch).unlink(missing_ok=True)


def under_way(batch: BatchFolder) -> Purged | None:
    """How far one has come that did not end; None where none is. Raises EvidenceError."""
    return parsed(_progress(batch), batch.key, ended=False) if _progress(batch).is_file() else None


def read(batch: BatchFolder) -> Purged | None:
    """purge.json; None where no purge has ended yet. Raises EvidenceError where it is not one of this batch."""
    return parsed(file(batch), batch.key) if file(batch).is_file() else None


def parsed(path: Path, batch: str, ended: bool = True) -> Purged:
    """The record at `path`, of that batch. Raises EvidenceError where it is none."""
    try:
        tree = files.read_json(path)
        locations = tuple(Location(**one) for one in tree["locations"])
        scan = Scan(**tree["scan"])
        if tree.pop("schema") != SCHEMA:
            raise KeyError("schema")
        found = Purged(**{**tree, "locations": locations, "scan": scan})
    except (StorageError, AttributeError, KeyError, TypeError) as error:
        raise EvidenceError(f"{path}: not a {SCHEMA} record ({str(error)[:80]}); restore it") from None
    adds_up = not ended or found.status == status(locations, scan)
    if found.batch != batch or not all(map(_sound, locations)) or not adds_up:
        raise EvidenceError(f"{path}: does not add up, or is about another batch; restore it")
    return found


def taken_out(batch: BatchFolder) -> tuple[Gone, ...]:
    """What was taken out of its hashed assets. Raises EvidenceError where files.json is none, or names what may not be.

    A later batch's purge may have taken a checkpoint out of a batch that was never purged itself.
    """
    path = folder(batch) / "files.json"
    if not path.is_file():
        return ()
    try:
        tree = files.read_json(path)
        if tree["schema"] != FILES or tree["batch"] != batch.key:
            raise KeyError("schema, batch")
        found = tuple(Gone(**one) for one in tree["files"])
    except (StorageError, KeyError, TypeError) as error:
        raise EvidenceError(f"{path}: not a {FILES} listing of batch {batch.key} ({error}); restore it") from None
    for one in found:
        if not may_go(one.asset, one.path):
            raise EvidenceError(f"{path}: {one.asset}/{one.path} is evidence, which no purge removes")
    return found


def list_out(batch: BatchFolder, gone: Sequence[Gone]) -> None:
    """Add to files.json, before anything of it is removed. Again: nothing is written."""
    before = taken_out(batch)
    new = [one for one in gone if one not in before]
    if new:
        told = sorted([*before, *new], key=lambda one: (one.asset, one.path))
        files.write_json(
            folder(batch) / "files.json",
            {"schema": FILES, "batch": batch.key, "files": [asdict(one) for one in told]},
        )


def may_go(asset: str, path: str) -> bool:
    """Whether a purge may take that file out of that asset: pictures, tables by image, weights. Nothing else."""
    if asset == "evaluation_report":
        return path in _OF_REPORT
    return asset in _CHECKPOINTS and path.endswith(".safetensors")


def present(batch: BatchFolder, asset: str) -> list[FileDigest]:
    """Every file of an asset, by name: those that lie there, and what a purge took out, as it was."""
    there = {one.path: one for one in digests.of_folder(batch.asset(asset))}
    for one in taken_out(batch):
        if one.asset == asset and one.path not in there:
            there[one.path] = FileDigest(one.path, one.sha256, one.bytes)
    return [there[path] for path in sorted(there, key=lambda name: name.split("/"))]


def refuse_made_again(batch: BatchFolder) -> None:
    """Raise EvidenceError once a purge was begun: what it was made from is not stored any more."""
    if begun(batch):
        raise EvidenceError(
            f"batch {batch.key} is purged: what it was made from is no longer stored, so nothing of it is made again; "
            "file new requests and seal another batch"
        )


def _progress(batch: BatchFolder) -> Path:
    return folder(batch) / "progress.json"


def _sound(one: Location) -> bool:
    """Whether a location adds up."""
    counts = (one.found, one.removed, one.remaining)
    whole = all(isinstance(count, int) and count >= 0 for count in counts) and one.found == one.removed + one.remaining
    codes = [one.location] if one.why is None else [one.location, one.why]
    return whole and one.method in _METHODS and all(_CODE.fullmatch(code) for code in codes)
