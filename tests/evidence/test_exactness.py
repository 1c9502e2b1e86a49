"""Claim level C2 stands on equal bits of a training that was repeated, and on nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import toy_batch
from unlearning import files
from unlearning.evidence import exactness, verification
from unlearning.log import silent
from unlearning.params import Params
from unlearning.verbs import _asset, certify
from unlearning.workspace import BatchFolder, Workspace

RETRAINED = {"trained": [1], "copied": [0, 2], "from_random_weights": []}
REPLAYED = {"trained": [1], "copied": [0, 2], "from_random_weights": [1]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Manifests of one batch a test."""
    workspace = toy_batch.toy_workspace(tmp_path_factory.mktemp("root"))
    return workspace.root


def certified(root: Path, repository: Path, key: str, number: int, **changes: Any) -> dict[str, Any]:
    """The certificate of a batch whose checkpoints are bytes and whose records say what a test wants."""
    toys = Workspace(root)
    params = toy_batch.toy_params(repository, **{"unlearn.method": changes.get("method", {"kind": "sisa"})})
    toy_batch.file_requests(toys, toy_batch.request_body(request_id=toy_batch.request_id(number)))
    batch = toys.batch(key)
    toy_batch.manifests(params, batch)
    bits = {"original": b"0", "reference": b"1", "unlearned": changes.get("unlearned", b"1")}
    told = {"reference": changes.get("reference", REPLAYED), "unlearned": RETRAINED}
    for role, content in bits.items():
        _checkpoint(params, batch, role, content, told.get(role, {}))

    def report(folder: Path, key: str) -> dict[str, Any]:
        files.write_json(folder / "report.json", toy_batch.toy_report(params, batch, changes.get("forgetting", 0.95)))
        return {}

    _asset.make("evaluation_report", params, batch, silent, report)
    certify.run(params, batch, silent)
    assert verification.verify(batch.path).mismatches == ()
    said: dict[str, Any] = files.read_json(batch.certificate)
    return said


def _checkpoint(params: Params, batch: BatchFolder, role: str, content: bytes, shards: dict[str, Any]) -> None:
    def fill(folder: Path, key: str) -> dict[str, Any]:
        (folder / "model.safetensors").write_bytes(content)
        return {"shards": shards, "device": "cpu"} if shards else {}

    _asset.make(f"{role}_checkpoint", params, batch, silent, fill)


def test_equal_bits_of_a_repeated_training_are_exact(root: Path, repository: Path) -> None:
    said = certified(root, repository, "equal", 1)
    assert (said["status"], said["claim_level"]) == ("issued", "C2")
    found = said["exactness"]
    assert (found["replay"], found["reason"]) == ("bit-equal", "")
    assert found["device"] == {"unlearned": "cpu", "reference": "cpu"}
    assert found["shards"] == {"retrained": [1], "copied": [0, 2]}
    assert found["breaks"] == list(exactness.BREAKS)
    for word in ("average", "batch-norm", "tokenizer", "hyper-parameters", "caches", "near duplicates"):
        assert any(word in sentence for sentence in found["breaks"]), word


@pytest.mark.parametrize(
    ("number", "changes", "replay", "reason"),
    [
        (2, {"unlearned": b"2"}, "differs", "are not the same bits"),
        (
            3,
            {"reference": {**REPLAYED, "from_random_weights": [0]}},
            "not replayed",
            "did not train shard 1 from random",
        ),
        (4, {"reference": {}}, "not replayed", "did not train shard 1 from random"),
    ],
    ids=["other_bits", "another_shard", "no_shards"],
)
def test_anything_else_is_approximate_and_says_why(
    number: int, changes: dict[str, Any], replay: str, reason: str, root: Path, repository: Path
) -> None:
    said = certified(root, repository, f"b{number}", number, **changes)
    assert (said["status"], said["claim_level"]) == ("issued", "C1")
    assert said["exactness"]["replay"] == replay
    assert reason in said["exactness"]["reason"]


def test_a_refused_model_claims_nothing_however_exact(root: Path, repository: Path) -> None:
    said = certified(root, repository, "refused", 5, forgetting=0.1)
    assert (said["status"], said["claim_level"], said["exactness"]["replay"]) == ("refused", "none", "bit-equal")


def test_a_method_that_is_approximate_by_its_nature_is_never_exact(root: Path, repository: Path) -> None:
    said = certified(root, repository, "approximate", 6, method={"kind": "naive_deletion"})
    assert said["claim_level"] == "C1"
    assert "exactness" not in said


def test_a_level_that_the_files_do_not_bear_is_found(root: Path, repository: Path) -> None:
    certified(root, repository, "forged", 7, unlearned=b"3")
    folder = Workspace(root).batch("forged").path
    path = folder / "certificate" / "certificate.json"
    said = files.read_json(path)
    files.write_json(path, {**said, "claim_level": "C2"})
    found = verification.verify(folder).mismatches
    assert any("claim_level: says 'C2', the files say 'C1'" in mismatch for mismatch in found)
