"""`unlearning attest`: what a batch's files say, signed, as a bundle beside its assets; and as a page for people.

    <batch>/<sha256 of the weights>.erasure.intoto.jsonl   .erasure.html
    <batch>/no-match/<request id>.no-match.intoto.jsonl    .no-match.html     of every request to which nothing belongs
    <batch>/unsigned/…                                     while the privacy officer has not signed

Called after certify, promote and purge, and by hand; again: nothing is written, and nothing is added to the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.evidence import bundle, bundle_page, bundle_verification, bundle_writing, keys, trust
from unlearning.evidence.bundle_writing import Sealed, Signers
from unlearning.log import Log, Progress
from unlearning.params import Params
from unlearning.verbs import _ledger, _statements
from unlearning.workspace import BatchFolder, Workspace


@dataclass(frozen=True, slots=True)
class Attested:
    """What came of it: of the erasure's bundle, or of the last request to which nothing belongs."""

    bundle: Path
    statements: int
    changed: bool
    waits: bool  # for the privacy officer
    claim_level: str
    sequence: int
    sha256: str  # of the index's payload
    key_ids: tuple[str, ...]


def run(params: Params, batch: BatchFolder, log: Log) -> Attested:
    """Write or renew a batch's bundles. Raises EvidenceError where there is nothing to attest, or a key is unfit."""
    unmatched = [entry for entry in _ledger.of(batch.workspace).entries(batch.key) if entry.state == "not_found"]
    certified = batch.certificate.is_file()
    if not certified and not unmatched:
        raise EvidenceError(
            f"batch {batch.key} has no certificate, and no request that matched nothing; certify it first"
        )
    with files.locked(batch.path / ".locks" / "attestation", f"batch {batch.key}: its bundle", wait=True):
        by = _signers(batch.workspace, log)
        sealed = list[Sealed]()
        for entry in unmatched:
            path = batch.path / "no-match" / f"{entry.request_id}{bundle.NO_MATCH_ENDING}"
            there = bundle_writing.newest(path, by.trust)
            dataset = entry.dataset or params.data.name
            contents = _statements.of_unmatched(batch, dataset, entry, there, by.officer is not None)
            sealed.append(_shown(bundle_writing.seal(batch, path, contents, by), by.trust))
        if certified:
            path = bundle.file(batch)
            there = bundle_writing.newest(path, by.trust)
            contents = _statements.of_certified(batch, there, by.officer is not None)
            sealed.append(_shown(bundle_writing.seal(batch, path, contents, by), by.trust))
    for one in sealed:
        log(Progress("attestation", 0, 0, note=_said(one, batch)))
    return _attested(sealed[-1])


def _signers(workspace: Workspace, log: Log) -> Signers:
    """The keys of the root; made at the first use, so that nobody need think of them who only tries this out."""
    if not trust.file(workspace).is_file():
        made = keys.init(workspace)
        names = " and ".join(f"{key.role} {key.keyid[:12]}" for key in made)
        note = f"made the keys {names}; both lie on this machine, so that their two signatures are one machine's word"
        log(Progress("keys", 0, 0, note=note))
    return bundle_writing.signers(workspace)


def _shown(sealed: Sealed, known: trust.Trust) -> Sealed:
    """With its page beside it, which is a function of the bundle."""
    page = bundle_page.beside(sealed.path)
    if not sealed.waits and (sealed.changed or not page.is_file()):
        found = bundle_verification.verify(sealed.path.read_bytes(), known)
        files.write_bytes(page, bundle_page.text(found).encode())
    return sealed


def _said(sealed: Sealed, batch: BatchFolder) -> str:
    index, lines = sealed.bundle.index, len(sealed.bundle.lines)
    if sealed.waits:
        return f"waits for the privacy officer: `unlearning countersign {batch.key} --key FILE` ({sealed.path.name})"
    word = "written" if sealed.changed else "unchanged"
    return f"{word}, {index.status}, claim level {index.claim_level}, {lines} statements, number {index.sequence}"


def _attested(sealed: Sealed) -> Attested:
    last, index = sealed.bundle.lines[-1], sealed.bundle.index
    return Attested(
        bundle=sealed.path,
        statements=len(sealed.bundle.lines),
        changed=sealed.changed,
        waits=sealed.waits,
        claim_level=index.claim_level,
        sequence=index.sequence,
        sha256=last.sha256,
        key_ids=tuple(one.keyid for one in last.envelope.signatures),
    )
