"""What the verbs write is judged by the second verifier: bundle, log, weights, and the proofs of people."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from infra.verifier import verify_certificate as verifier
from tests.evidence.served import promoted
from tests.toy_batch import toy_params, toy_workspace
from unlearning.verbs import prove
from unlearning.workspace import BatchFolder


@pytest.fixture(scope="module")
def batch(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> BatchFolder:
    return promoted(toy_params(repository), toy_workspace(tmp_path_factory.mktemp("attested")), 1, "star")


def judged(batch: BatchFolder, *beside: str) -> dict[str, object]:
    """The second verifier's report on the batch's bundle, at its command line."""
    (bundle,) = batch.path.glob("*.erasure.intoto.jsonl")
    root = batch.workspace.root
    given = [str(bundle), "--trust", str(root / "trust.json"), "--json", str(root / "report.json"), *beside]
    code = verifier.main(given)
    said: dict[str, object] = json.loads((root / "report.json").read_bytes())
    assert code == int(not said["verified"])
    return said


def test_a_bundle_of_the_verbs_holds_with_its_log_and_its_weights(batch: BatchFolder) -> None:
    weights = batch.unlearned / "model.safetensors"
    said = judged(batch, "--log", str(batch.workspace.root / "log" / "digests"), "--model", str(weights))
    assert (said["problems"], said["status"], said["claim_level"]) == ([], "issued", "C1")
    assert judged(batch, "--model", str(batch.certificate))["verified"] is False


@pytest.mark.parametrize("of", ["forget", "retain"])
def test_a_proof_of_the_verbs_holds(batch: BatchFolder, of: str, tmp_path: Path) -> None:
    key = pq.read_table(getattr(batch, of), columns=["key"])["key"][0].as_py()
    proof = tmp_path / "proof.json"
    proof.write_bytes(prove.of_sample(key, batch))
    said = json.loads(proof.read_bytes())
    assert {one["set"]: one["member"] for one in said["sets"]} == {"forget": of == "forget", "retain": of == "retain"}
    assert judged(batch, "--proof", str(proof))["problems"] == []
    proof.write_bytes(prove.of_image(b"an image that is not stored", batch))
    assert judged(batch, "--proof", str(proof))["problems"] == []
