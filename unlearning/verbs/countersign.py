"""`unlearning countersign`: the privacy officer's signature under a bundle that waits for it.

On the pipeline's machine by the batch's key; on the officer's own by the file that was brought there, with the trust
file: the private key never leaves it, and the signed file goes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.evidence import bundle, bundle_page, bundle_verification, bundle_writing, key_files, keys, log, trust
from unlearning.workspace import BatchFolder


@dataclass(frozen=True, slots=True)
class Countersigned:
    """What was signed, and where it lies now."""

    bundle: Path
    keyid: str


def of_batch(batch: BatchFolder, key: Path) -> list[Countersigned]:
    """Sign everything of a batch that waits. Raises EvidenceError where nothing does, or the key is no officer's."""
    known = trust.load(trust.file(batch.workspace))
    waiting = sorted(batch.path.glob(f"**/{bundle_writing.UNSIGNED}/*.intoto.jsonl"))
    if not waiting:
        raise EvidenceError(f"batch {batch.key}: nothing waits for the privacy officer")
    with files.locked(batch.path / ".locks" / "attestation", f"batch {batch.key}: its bundle", wait=True):
        return [_placed(batch, path, key, known) for path in waiting]


def of_file(path: Path, key: Path, known: trust.Trust, out: Path) -> Countersigned:
    """Sign one file that was brought. Raises EvidenceError for one that would not verify then."""
    officer = keys.brought(key_files.read_secret(key), str(key), known)
    files.write_bytes(out, bundle_writing.countersigned(path.read_bytes(), officer, known))
    return Countersigned(out, officer.key.keyid)


def _placed(batch: BatchFolder, path: Path, key: Path, known: trust.Trust) -> Countersigned:
    officer = keys.brought(key_files.read_secret(key), str(key), known)
    target = path.parents[1] / path.name
    before = bundle_writing.current(target, known)
    content = bundle_writing.countersigned(path.read_bytes(), officer, known)
    if (bundle.read(content).index.sequence == 0) != (before is None):
        raise EvidenceError(f"{path}: does not follow the bundle that lies there; `unlearning attest` makes it again")
    bundle_writing.publish(target, content, before)
    log.extend(batch.workspace, [bytes.fromhex(line.sha256) for line in bundle.read(content).lines])
    page = bundle_page.text(bundle_verification.verify(content, known))
    files.write_bytes(bundle_page.beside(target), page.encode())
    return Countersigned(target, officer.key.keyid)
