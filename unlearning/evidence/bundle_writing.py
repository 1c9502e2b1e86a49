"""Sealing statements into a bundle: sign, log, index, countersign, and put it where it belongs.

    statements -> log -> index -> signed by the pipeline and the officer -> verified -> file -> log

Killed anywhere, the next call begins from the files and comes to the same statements, file and log: the index is logged
last, so that the log never holds one that nobody published. Until then `--log` says that it is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearning import digests, files
from unlearning.errors import EvidenceError
from unlearning.evidence import (
    bundle,
    bundle_verification,
    canonical_text,
    envelope,
    keys,
    log,
    predicates,
    statements,
    trust,
)
from unlearning.evidence.bundle import Bundle, NotABundle
from unlearning.evidence.keys import SigningKey
from unlearning.evidence.trust import Trust
from unlearning.workspace import BatchFolder, Workspace

UNSIGNED = "unsigned"  # folder below the batch: bundles that wait for the officer
SUPERSEDED = "superseded"  # folder below the batch: bundles that were replaced
_AFRESH = ("issued_at", "log", "payloads", "sequence", "supersedes")  # what an index has of its own moment


@dataclass(frozen=True, slots=True)
class Signers:
    """Who signs now; the officer may be elsewhere."""

    pipeline: SigningKey
    officer: SigningKey | None
    trust: Trust


@dataclass(frozen=True, slots=True)
class Contents:
    """What a bundle is to say."""

    payloads: Sequence[bytes]  # of every statement but the index
    said: Mapping[str, Any]  # the index's fields, but those of its own moment
    subject: Mapping[str, str]  # of the index: name -> sha256


@dataclass(frozen=True, slots=True)
class Sealed:
    """What came of it."""

    path: Path  # of the bundle, or of the one that waits for the officer
    bundle: Bundle
    changed: bool
    waits: bool  # for the officer's signature


def signers(workspace: Workspace) -> Signers:
    """The keys of a root. Raises EvidenceError for one that is lost, open to others, or not good any more."""
    pipeline, officer = keys.signing(workspace, "pipeline"), keys.signing(workspace, "privacy_officer")
    if pipeline is None:
        raise EvidenceError("the pipeline's private key is not on this machine; `unlearning keys rotate pipeline`")
    return Signers(pipeline, officer, trust.load(trust.file(workspace)))


def current(path: Path, known: Trust) -> Bundle | None:
    """The bundle that lies there; None where none does. Raises EvidenceError for one that was changed after signing.

    One whose keys are not good any more is a bundle still: the next one supersedes it.
    """
    if not path.is_file():
        return None
    try:
        found = bundle.read(path.read_bytes())
    except NotABundle as error:
        raise EvidenceError(f"{path}: not a bundle ({error}); restore it, or delete it to begin anew") from None
    forged = [
        line
        for line in found.lines
        for one in line.envelope.signatures
        if (key := known.find(one.keyid)) is not None and not envelope.signed_by(line.envelope.payload, one, key)
    ]
    if forged:
        raise EvidenceError(f"{path}: was changed after it was signed; restore it, or delete it to begin anew")
    return found


def newest(path: Path, known: Trust) -> Bundle | None:
    """The bundle that lies there, else the one that waits to. Raises EvidenceError as `current` does."""
    return current(path, known) or current(waiting(path), known)


def seal(batch: BatchFolder, path: Path, contents: Contents, by: Signers) -> Sealed:
    """The bundle of these statements, written if it is not there already. The caller holds the batch's lock.

    Raises EvidenceError where what is made does not verify, or what lies there was tampered with.
    """
    there = current(path, by.trust)
    known = _known(batch.workspace, path, contents, by)
    if known is not None:
        return known
    index = _index(batch.workspace, contents, there, by)
    content, waits = _signed([*contents.payloads, index], there, by), by.officer is None
    problems = _problems(content, by, waits)
    if problems:
        raise EvidenceError(f"the bundle that was made does not verify, and was not written: {problems[0]}")
    if waits:
        files.write_bytes(waiting(path), content)
    else:
        publish(path, content, there)
    log.extend(batch.workspace, [bytes.fromhex(digests.of_bytes(index))])
    return Sealed(waiting(path) if waits else path, bundle.read(content), True, waits)


def waiting(path: Path) -> Path:
    """Where a bundle lies while it waits for the officer."""
    return path.parent / UNSIGNED / path.name


def countersigned(content: bytes, officer: SigningKey, known: Trust) -> bytes:
    """A bundle that waited, with the officer's signature under its index. Raises EvidenceError unless it then holds."""
    try:
        waiting = bundle.read(content)
    except NotABundle as error:
        raise EvidenceError(f"what is to be countersigned is no bundle ({error})") from None
    last = waiting.lines[-1]
    others = [one for one in last.envelope.signatures if one.keyid != officer.key.keyid]
    index = envelope.write(last.envelope.payload, [*others, officer.seal(last.envelope.payload)])
    made = b"".join(text + b"\n" for text in [*(line.text for line in waiting.lines[:-1]), index])
    found = bundle_verification.verify(made, known)
    if not found.verified:
        raise EvidenceError(f"countersigned, the bundle would not verify: {found.problems[0]}")
    return made


def publish(path: Path, content: bytes, before: Bundle | None) -> None:
    """Put a bundle in its place. The one before it is kept: whoever holds the new one may ask for it."""
    if before is not None:
        stem, _, ending = path.name.partition(".")
        kept = path.parent / SUPERSEDED / f"{stem}.{before.index.sequence}.{ending}"
        files.write_bytes(kept, b"".join(line.text + b"\n" for line in before.lines))
    files.write_bytes(path, content)
    waiting(path).unlink(missing_ok=True)


def _known(workspace: Workspace, path: Path, contents: Contents, by: Signers) -> Sealed | None:
    """The bundle that says these things already, and holds: in its place, or waiting for an officer elsewhere."""
    for place in (path, waiting(path))[: 1 if by.officer is not None else 2]:
        there, waits = current(place, by.trust), place != path
        if there is not None and _says(there, contents) and not _problems(place.read_bytes(), by, waits):
            log.extend(workspace, [bytes.fromhex(line.sha256) for line in there.lines])
            if not waits:
                waiting(path).unlink(missing_ok=True)
            return Sealed(place, there, False, waits)
    return None


def _says(there: Bundle, contents: Contents) -> bool:
    index = {name: value for name, value in there.index.model_dump().items() if name not in _AFRESH}
    about = {one.name: one.digest.sha256 for one in there.lines[-1].statement.subject}
    same = [line.envelope.payload for line in there.lines[:-1]] == list(contents.payloads)
    return same and index == dict(contents.said) and about == dict(contents.subject)


def _problems(content: bytes, by: Signers, waits: bool) -> list[str]:
    """What does not hold; of a bundle that waits, other than that the officer did not sign."""
    found = bundle_verification.verify(content, by.trust)
    wanted = f"signed by pipeline, where {bundle_verification.WANTED_LAST}"
    return [one for one in found.problems if not (waits and wanted in one)]


def _index(workspace: Workspace, contents: Contents, before: Bundle | None, by: Signers) -> bytes:
    """The index of this moment, after everything it is about was logged."""
    listed = [digests.of_bytes(payload) for payload in contents.payloads]
    head = log.extend(workspace, [bytes.fromhex(one) for one in listed])
    afresh = {
        "issued_at": _moment(contents.payloads, by, before),
        "log": {"root": head.root.hex(), "size": head.size},
        "payloads": listed,
        "sequence": 0 if before is None else before.index.sequence + 1,
        "supersedes": None if before is None else before.lines[-1].sha256,
    }
    return statements.index({**contents.said, **afresh}, contents.subject)


def _moment(payloads: Iterable[bytes], by: Signers, before: Bundle | None) -> str:
    """Now; not before anything that the index is about, nor before its keys begin: a clock may have been set back."""
    officers = [key.valid_from for key in by.trust.keys if key.role == "privacy_officer" and key.valid_until is None]
    told = [] if before is None else [before.index.issued_at]
    for payload in payloads:
        told += _times(canonical_text.read(payload))
    return max(canonical_text.as_time(datetime.now(UTC)), by.pipeline.key.valid_from, *officers, *told)


def _times(value: Any) -> list[str]:
    """Every moment that a statement says was; `expires_at` is one that will be."""
    if isinstance(value, dict):
        return [time for name, one in value.items() if name != "expires_at" for time in _times(one)]
    if isinstance(value, list):
        return [time for one in value for time in _times(one)]
    return [value] if isinstance(value, str) and canonical_text.is_time(value) else []


def _signed(payloads: Sequence[bytes], before: Bundle | None, by: Signers) -> bytes:
    """The lines. What was signed before by a key that is good still keeps its line, byte for byte."""
    own = by.pipeline.key.keyid
    kept = {} if before is None else {line.envelope.payload: line for line in before.lines[:-1]}
    lines = []
    for payload in payloads[:-1]:
        line = kept.get(payload)
        same = line is not None and [one.keyid for one in line.envelope.signatures] == [own]
        lines.append(line.text if line is not None and same else envelope.write(payload, [by.pipeline.seal(payload)]))
    index = [by.pipeline.seal(payloads[-1]), *([] if by.officer is None else [by.officer.seal(payloads[-1])])]
    return b"".join(text + b"\n" for text in [*lines, envelope.write(payloads[-1], index)])


def kept_payloads(there: Bundle | None, certificate_sha256: str) -> list[bytes]:
    """Of a bundle about this very certificate: sets, run, tests and decision, as they were signed.

    They are functions of the certified files, some of which a purge takes away. Else nothing.
    """
    if there is None or there.index.certificate_sha256 != certificate_sha256:
        return []
    later = (predicates.PROMOTION, predicates.PURGE)
    return [line.envelope.payload for line in there.lines[:-1] if line.statement.predicateType not in later]


def require_signed(batch: BatchFolder) -> None:
    """Raise EvidenceError unless the bundle in its place holds, and is about the certificate that lies there."""
    path = bundle.file(batch)
    waits = waiting(path).is_file()
    todo = f"countersign {batch.key} --key FILE" if waits else f"attest --batch {batch.key}"
    if not path.is_file():
        why = "waits for the privacy officer" if waits else "has no signed bundle"
        raise EvidenceError(f"batch {batch.key} {why}: run `unlearning {todo}`; nothing was promoted")
    found = bundle_verification.verify_file(path, trust.load(trust.file(batch.workspace)))
    if found.bundle is None or not found.verified:
        raise EvidenceError(f"{path}: does not verify ({found.problems[0]}); nothing was promoted")
    if found.bundle.index.certificate_sha256 != digests.of_file(batch.certificate):
        raise EvidenceError(f"{path}: is about another certificate; run `unlearning {todo}`; nothing was promoted")
