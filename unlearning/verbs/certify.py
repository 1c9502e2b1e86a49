"""certificate: the batch's evidence, bound to one digest. Written also when the gates refuse."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearning import digests, files
from unlearning.errors import ManifestError, StorageError
from unlearning.evidence import certificate, lineage
from unlearning.evidence.lineage import Record
from unlearning.log import Log, Progress
from unlearning.params import Params
from unlearning.verbs import _asset, _ledger, attest
from unlearning.workspace import BatchFolder


def run(params: Params, batch: BatchFolder, log: Log) -> Record:
    """Write certificate.json, bring the ledger to `ready` (`failed` where the gates refuse), and sign what came of it.

    Raises EvidenceError if a file is not the recorded one, ManifestError if an asset was made under other parameters.
    """
    tree = params.model_dump(mode="json")

    def fill(folder: Path, key: str) -> dict[str, Any]:
        records = {name: _sound(name, tree, batch) for name in certificate.ASSETS}
        issued_at = datetime.now(UTC).isoformat(timespec="seconds")
        said = certificate.compose(batch, records, tree, issued_at)
        files.write_json(folder / "certificate.json", said)
        return {"status": said["status"], "verdict": said["verdict"], "claim_level": said["claim_level"]}

    _set_aside_outdated(batch)
    record = _asset.make("certificate", params, batch, log, fill)
    passed = record.facts["verdict"] == "passed"
    ledger = _ledger.of(batch.workspace)
    ledger.advance(batch.key, "ready" if passed else "failed", "gates_passed" if passed else "gates_refused")
    attest.run(params, batch, log)
    log(Progress("certificate", 0, 0, note=f"{record.facts['status']}, claim level {record.facts['claim_level']}"))
    return record


def _set_aside_outdated(batch: BatchFolder) -> None:
    """A certificate names its assets' records. One made anew, even to the same bytes, needs a new one."""
    try:
        named = {name: asset["lineage_sha256"] for name, asset in files.read_json(batch.certificate)["assets"].items()}
        current = {name: digests.of_file(batch.lineage(name)) for name in certificate.ASSETS}
    except (StorageError, OSError, AttributeError, KeyError, TypeError):
        return  # there is none yet, or none that would be taken for current
    if named != current:
        batch.lineage("certificate").unlink(missing_ok=True)


def _sound(name: str, tree: dict[str, Any], batch: BatchFolder) -> Record:
    """The record of an input that was made under these parameters."""
    record = lineage.read(batch, name)
    if record.params_sha256 != certificate.sections_sha256(tree, name):
        raise ManifestError(
            f"batch {batch.key}: {name} was made under other parameters than these; run its stage again before certify"
        )
    return record
