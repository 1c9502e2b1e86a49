"""Recompute everything a certificate says, offline, from the batch's folder alone. No torch, no network, no pickle."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from unlearning import digests, files
from unlearning.errors import EvidenceError, StorageError, UnlearningError
from unlearning.evidence import certificate, lineage, purge
from unlearning.evidence.lineage import Record
from unlearning.stages import STAGES
from unlearning.workspace import BatchFolder, Workspace

NOT_CHECKED = (
    "who wrote certificate.json: it is hashed, not signed; the bundle beside it is signed",
    "the stored images: the folder holds their hashes, not their bytes",
    "that the named code was run: re-run it, or trust the operator",
    "the ledger, the model registry, and any copy of these files elsewhere",
)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Verification:
    """What was recomputed, what does not agree, and what nobody looked at."""

    batch: str
    status: str  # issued | refused, as the certificate says
    files: int  # hashed
    mismatches: tuple[str, ...]
    purged: tuple[str, ...] = ()  # files that the certificate names, and a purge took out as files.json records
    not_checked: tuple[str, ...] = NOT_CHECKED
    signed_by: tuple[str, ...] = ()  # ids of the keys under its bundle, where that was looked at

    @property
    def verified(self) -> bool:
        """Whether everything agrees."""
        return not self.mismatches


@dataclass(frozen=True, slots=True)
class Exported(BatchFolder):
    """A batch's folder wherever it was copied to."""

    home: Path

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.home


def verify(folder: Path) -> Verification:
    """Hash every file, follow every link, evaluate the gates again. Raises EvidenceError if it is no batch folder."""
    folder = folder.resolve()
    said = _certificate(folder)
    key = said.get("batch")
    batch = Exported(Workspace(folder.parent), key if isinstance(key, str) else folder.name, folder)
    mismatches = list[str]()
    records = dict[str, Record]()
    for asset in (*certificate.ASSETS, "certificate"):
        records |= _observed(batch, asset, mismatches)
    if len(records) == len(certificate.ASSETS) + 1:
        mismatches += _links(records)
        mismatches += _params(said, records)
        mismatches += _composed(batch, said, records)
    count = sum(len(record.outputs) for record in records.values())
    purged = _purged(batch, mismatches)
    once = tuple(dict.fromkeys(mismatches))
    return Verification(batch.key, str(said.get("status"))[:20], count - len(purged), once, purged)


def _certificate(folder: Path) -> Mapping[str, Any]:
    path = folder / "certificate" / "certificate.json"
    try:
        said = files.read_json(path)
    except StorageError as error:
        raise EvidenceError(f"{folder}: not the folder of a certified batch ({error})") from None
    if not isinstance(said, Mapping) or said.get("schema") != certificate.SCHEMA:
        raise EvidenceError(f"{path}: not an {certificate.SCHEMA}; the folder of a certified batch is right")
    return said


def _observed(batch: BatchFolder, asset: str, mismatches: list[str]) -> dict[str, Record]:
    """The asset's record with what its files really hash to."""
    try:
        record = lineage.read(batch, asset)
    except (StorageError, EvidenceError) as error:
        mismatches.append(f"{asset}: {error}")
        return {}
    if batch.lineage(asset).read_bytes() != files.canonical(files.read_json(batch.lineage(asset))) + b"\n":
        mismatches.append(f"lineage/{asset}.json: not canonical JSON, it was edited")
    try:
        found = purge.present(batch, asset)
    except EvidenceError as error:
        mismatches.append(str(error))
        found = digests.of_folder(batch.asset(asset))
    recorded, there = ({file.path: file for file in listing} for listing in (record.outputs, found))
    for path in sorted(recorded.keys() | there.keys()):
        if path not in there:
            mismatches.append(f"{asset}/{path}: is missing")
        elif path not in recorded:
            mismatches.append(f"{asset}/{path}: was not there when the asset was recorded")
        elif there[path] != recorded[path]:
            mismatches.append(
                f"{asset}/{path}: sha256 {there[path].sha256[:12]}, recorded {recorded[path].sha256[:12]}"
            )
    sha256 = digests.of_listing(found)
    if record.sha256 != sha256:
        mismatches.append(f"{asset}: its files hash to {sha256[:12]}, lineage/{asset}.json says {record.sha256[:12]}")
    if record.asset != asset or record.batch != batch.key:
        mismatches.append(f"lineage/{asset}.json: is about {record.asset!r} of batch {record.batch!r}")
    return {asset: replace(record, outputs=found, sha256=sha256)}


def _purged(batch: BatchFolder, mismatches: list[str]) -> tuple[str, ...]:
    """What is not there because it was purged. `_observed` has compared each with its record."""
    try:
        purge.read(batch)
        gone = purge.taken_out(batch)
    except EvidenceError as error:
        mismatches.append(str(error))
        return ()
    return tuple(f"{one.asset}/{one.path}" for one in gone if not (batch.asset(one.asset) / one.path).exists())


def _links(records: Mapping[str, Record]) -> Iterator[str]:
    """Every input's sha256 is the sha256 of the asset it names, and every user of the data set used the same one."""
    for asset, record in records.items():
        if sorted(record.inputs) != sorted(STAGES[asset].inputs):
            yield f"lineage/{asset}.json: inputs are {sorted(record.inputs)}, not {sorted(STAGES[asset].inputs)}"
        for name, sha256 in record.inputs.items():
            if name in records and records[name].sha256 != sha256:
                yield f"{asset} was made from {name} {sha256[:12]}, but {records[name].sha256[:12]} lies there"
    if len({record.inputs["image_dataset"] for record in records.values() if "image_dataset" in record.inputs}) > 1:
        yield "the assets were not all made from one data set"


def _params(said: Mapping[str, Any], records: Mapping[str, Record]) -> Iterator[str]:
    params = said.get("params")
    for asset, record in records.items():
        try:
            sha256 = certificate.sections_sha256(params, asset)  # type: ignore[arg-type]  # a file may say anything
        except (KeyError, TypeError, AttributeError, UnlearningError):
            yield f"certificate.json: its params do not hold the sections that {asset} read"
            continue
        if sha256 != record.params_sha256:
            yield f"{asset} was made under other parameters than the certificate's"


def _composed(batch: BatchFolder, said: Mapping[str, Any], records: Mapping[str, Record]) -> Iterator[str]:
    """What the certificate would say, composed again from the files, against what it says."""
    issued_at, params = said.get("issued_at"), said.get("params")
    if not isinstance(issued_at, str) or not _MOMENT.fullmatch(issued_at):
        yield "certificate.json: issued_at is not a time"
        return
    try:
        again = certificate.compose(batch, records, params, issued_at)  # type: ignore[arg-type]
        if files.canonical(dict(said)) + b"\n" != batch.certificate.read_bytes():
            yield "certificate.json: not canonical JSON, it was edited"
        yield from _weights(batch, records)
    except (UnlearningError, ValidationError, KeyError, TypeError, AttributeError, OSError) as error:
        yield f"the certificate cannot be composed again from the files ({' '.join(str(error).split())[:200]})"
        return
    ours, theirs = dict(_leaves(again)), dict(_leaves(said))
    for place in sorted(ours.keys() | theirs.keys()):
        if place not in theirs or place not in ours or ours[place] != theirs[place]:
            yield f"certificate.json {place}: says {_short(theirs.get(place))}, the files say {_short(ours.get(place))}"


def _weights(batch: BatchFolder, records: Mapping[str, Record]) -> Iterator[str]:
    """The report names the weights it measured; they are the ones that lie there."""
    reported = files.read_json(batch.report).get("weights")
    for role in certificate.ROLES:
        there = next((f.sha256 for f in records[f"{role}_checkpoint"].outputs if f.path == certificate.WEIGHTS), None)
        if not isinstance(reported, Mapping) or there is None or reported.get(role) != there:
            yield f"report.json: is about other {role} weights than {role}_checkpoint/{certificate.WEIGHTS}"


def _leaves(tree: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping) and tree:
        for name, part in tree.items():
            yield from _leaves(part, f"{place}.{name}" if place else str(name))
    elif isinstance(tree, list | tuple) and tree:
        for number, part in enumerate(tree):
            yield from _leaves(part, f"{place}[{number}]")
    else:
        # A number keeps its type: 1 and 1.0 are one value of JSON, but True is not.
        yield place, (isinstance(tree, bool), tree)


def _short(leaf: tuple[bool, Any] | None) -> str:
    return "nothing" if leaf is None else repr(leaf[1])[:80]
