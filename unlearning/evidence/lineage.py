"""One record an asset: which bytes, from which bytes, by which code and parameters.

The same record decides what is up to date.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

import unlearning
from unlearning import digests, files
from unlearning.digests import FileDigest
from unlearning.errors import EvidenceError, ManifestError, StorageError
from unlearning.evidence import purge
from unlearning.params import Params
from unlearning.stages import STAGES, Stage
from unlearning.workspace import BatchFolder

SCHEMA = "lineage/1"


@dataclass(frozen=True, slots=True)
class Record:
    """What stands in `lineage/<asset>.json`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")

    asset: str
    batch: str
    key: str  # sha256 of everything the asset is a function of
    sha256: str  # of the asset: its files by path and sha256
    outputs: list[FileDigest]
    inputs: dict[str, str]  # asset name -> its sha256
    params_sha256: str
    code: dict[str, str | bool]
    made_at: str  # RFC 3339, UTC
    facts: dict[str, Any] = field(default_factory=dict)  # what the verb counted or measured


def code_identity() -> dict[str, str | bool]:
    """Which code this is: git revision, whether tracked files differ from it, and sha256 of the package's sources."""
    return dict(_code_identity())


def key(stage: Stage, params: Params, batch: BatchFolder) -> str:
    """What the asset is a function of: its parameters and the bytes of its inputs. Raises if an input is missing."""
    return digests.of_value(
        {
            "asset": stage.name,
            "params": params.section_digest(*stage.params),
            "inputs": inputs(stage, params, batch),
            "version": unlearning.__version__,
        }
    )


def inputs(stage: Stage, params: Params, batch: BatchFolder) -> dict[str, str]:
    """sha256 of every input, by name. Raises ManifestError naming the first that is missing and what makes it."""
    found = {}
    for name in stage.inputs:
        if name == "image_dataset":
            found[name] = _dataset_sha256(params, batch)
        else:
            try:
                found[name] = read(batch, name).sha256
            except StorageError:
                verb = " ".join(STAGES[name].verb)
                raise ManifestError(
                    f"batch {batch.key}: {stage.name} needs {name}, which is not made yet; "
                    f"run `unlearning {verb} --batch {batch.key}` first"
                ) from None
    return found


def current(stage: Stage, params: Params, batch: BatchFolder) -> Record | None:
    """The record of an asset that is whole and up to date, else None. Of a purged batch nothing goes out of date."""
    try:
        record = read(batch, stage.name)
        if not purge.begun(batch) and record.key != key(stage, params, batch):
            return None
        if not intact(record, batch):
            return None
    except (StorageError, EvidenceError, ManifestError):
        return None
    return record


def intact(record: Record, batch: BatchFolder) -> bool:
    """Whether the asset's files are still the ones recorded, but for what a purge took out."""
    return purge.present(batch, record.asset) == record.outputs


def require_sound_inputs(stage: Stage, batch: BatchFolder) -> None:
    """Hash what is about to be read. Raises EvidenceError naming the first input that is not as recorded.

    Of a purged batch nothing may be read at all: what it was made from is not stored any more.
    """
    purge.refuse_made_again(batch)
    for name in stage.inputs:
        if name != "image_dataset" and not intact(read(batch, name), batch):
            raise EvidenceError(
                f"{batch.asset(name)}: its files are not the ones lineage/{name}.json records; "
                f"run `unlearning {' '.join(STAGES[name].verb)} --batch {batch.key}` to make them again"
            )


def read(batch: BatchFolder, asset: str) -> Record:
    """The record of `asset`. Raises StorageError if there is none, EvidenceError if it is not a record."""
    return of(files.read_json(batch.lineage(asset)), str(batch.lineage(asset)))


def of(tree: Any, where: str) -> Record:
    """The record that a file's JSON is. Raises EvidenceError naming `where`."""
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
        raise EvidenceError(f"{where}: not a lineage record (its schema is not {SCHEMA})")
    said = {name: value for name, value in tree.items() if name != "schema"}
    try:
        return _RECORD.validate_json(files.canonical(said))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise EvidenceError(f"{where}: not a lineage record ({place[:80]}: {first['msg']})") from None


def write(stage: Stage, params: Params, batch: BatchFolder, facts: dict[str, Any]) -> Record:
    """Record the asset that now lies in its folder."""
    outputs = digests.of_folder(batch.asset(stage.name))
    record = Record(
        asset=stage.name,
        batch=batch.key,
        key=key(stage, params, batch),
        sha256=digests.of_listing(outputs),
        outputs=outputs,
        inputs=inputs(stage, params, batch),
        params_sha256=params.section_digest(*stage.params),
        code=code_identity(),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        facts=facts,
    )
    files.write_json(batch.lineage(stage.name), {"schema": SCHEMA, **asdict(record)})
    return record


def _dataset_sha256(params: Params, batch: BatchFolder) -> str:
    name = params.data.name
    folder = batch.workspace.dataset(name)
    try:
        return str(files.read_json(folder / "dataset.json")["index_sha256"])
    except (StorageError, KeyError, TypeError):
        raise ManifestError(
            f"{folder}: there is no ingested data set {name!r}; run `unlearning ingest SOURCE --name {name}` first"
        ) from None


@cache
def _code_identity() -> tuple[tuple[str, str | bool], ...]:
    package = Path(unlearning.__file__).parent
    listing = [[file.relative_to(package).as_posix(), digests.of_file(file)] for file in sorted(package.rglob("*.py"))]
    revision = os.environ.get("UNLEARNING_CODE_REVISION") or _git(package, "rev-parse", "HEAD")
    dirty = bool(_git(package, "status", "--porcelain", "--untracked-files=no"))
    return (
        ("revision", revision or "unknown"),
        ("dirty", dirty),
        ("source_sha256", digests.of_value(listing)),
        ("version", unlearning.__version__),
    )


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


_RECORD = TypeAdapter(Record)
