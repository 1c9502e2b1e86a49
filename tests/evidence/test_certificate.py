"""A certificate says what happened, refusals too, and every byte it rests on is compared again by anybody, offline."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.toy_batch import certified, fake_training, snapshot, toy_params, toy_report
from unlearning import files
from unlearning.errors import EvidenceError, ManifestError
from unlearning.evidence import certificate, lineage, verification
from unlearning.log import silent
from unlearning.params import Params
from unlearning.requests.ledger import Ledger
from unlearning.stages import STAGES
from unlearning.verbs import certify, retain
from unlearning.workspace import BatchFolder


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[Params, BatchFolder]:
    """A certified batch; tests that change it work on a copy."""
    return certified(tmp_path_factory.mktemp("issued"), repository)


@pytest.fixture
def copy(issued: tuple[Params, BatchFolder], tmp_path: Path) -> Path:
    return Path(shutil.copytree(issued[1].path, tmp_path / "handed-over"))


def read(folder: Path) -> dict[str, Any]:
    tree: dict[str, Any] = files.read_json(folder / "certificate" / "certificate.json")
    return tree


def forged(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Edit the certificate and the record of its hash, as an attacker with the folder in hand would."""
    tree = read(folder)
    change(tree)
    files.write_json(folder / "certificate" / "certificate.json", tree)
    recorded = files.read_json(folder / "lineage" / "certificate.json")
    outputs = verification.digests.of_folder(folder / "certificate")
    recorded["outputs"] = [{"path": o.path, "sha256": o.sha256, "bytes": o.bytes} for o in outputs]
    recorded["sha256"] = verification.digests.of_listing(outputs)
    files.write_json(folder / "lineage" / "certificate.json", recorded)


def test_what_a_certificate_says(issued: tuple[Params, BatchFolder]) -> None:
    params, batch = issued
    said = read(batch.path)
    unlearned = lineage.read(batch, "unlearned_checkpoint")
    assert (said["status"], said["claim_level"], said["verdict"]) == ("issued", "C1", "passed")
    assert said["valid_for"]["unlearned_checkpoint"] == unlearned.sha256
    assert said["claims"]["inputs"] == unlearned.inputs
    assert said["claims"]["algorithm"]["method"]["kind"] == params.unlearn.method.kind
    assert said["requests"] == {"count": 1, "ids": ["11111111-1111-4111-8111-111111111111"]}
    assert set(said["assets"]) == set(STAGES["certificate"].inputs)
    assert any("cannot be proved" in sentence for sentence in said["not_claimed"])
    assert batch.certificate.read_bytes() == files.canonical(said) + b"\n"


def test_no_person_and_no_image_hash_is_in_it(issued: tuple[Params, BatchFolder]) -> None:
    _, batch = issued
    content = batch.certificate.read_text()
    for canary in ("person-", "star", "toys-0000"):
        assert canary not in content


def test_certifying_again_reuses(issued: tuple[Params, BatchFolder]) -> None:
    params, batch = issued
    before = snapshot(batch.path)
    certify.run(params, batch, silent)
    assert snapshot(batch.path) == before


def test_an_asset_made_anew_to_the_same_bytes_gets_a_new_certificate(tmp_path: Path, repository: Path) -> None:
    params, batch = certified(tmp_path, repository)
    shutil.rmtree(batch.asset("retain_proxy_set"))
    retain.run(params, batch, silent)
    recorded = files.read_json(batch.lineage("retain_proxy_set"))
    files.write_json(batch.lineage("retain_proxy_set"), {**recorded, "made_at": "2031-01-01T00:00:00+00:00"})
    assert not verification.verify(batch.path).verified
    certify.run(params, batch, silent)
    assert verification.verify(batch.path).mismatches == ()


def test_a_refusal_is_certified_too_and_verifies(tmp_path: Path, repository: Path) -> None:
    params, batch = certified(tmp_path, repository, forgetting=0.5)
    said = read(batch.path)
    assert (said["status"], said["claim_level"], said["verdict"]) == ("refused", "none", "refused")
    assert "forgetting" not in said["claims"]["tests"]
    assert verification.verify(batch.path).mismatches == ()
    ledger = Ledger(batch.workspace.ledger)
    assert [entry.state for entry in ledger.entries()] == ["failed"]
    events = [event.new for event in ledger.events(ledger.entries()[0])]
    certify.run(params, batch, silent)
    assert [event.new for event in ledger.events(ledger.entries()[0])] == events
    fake_training(toy_params(repository, **{"unlearn.budget.steps": 401}), batch, forgetting=0.95)
    certify.run(toy_params(repository, **{"unlearn.budget.steps": 401}), batch, silent)
    assert [entry.state for entry in ledger.entries()] == ["ready"]


def test_a_verdict_in_the_report_is_not_taken_on_trust(tmp_path: Path, repository: Path) -> None:
    params, batch = certified(tmp_path, repository, forgetting=0.5)
    report = toy_report(params, batch, 0.5)
    claimed = {**report, "verdict": "passed", "criteria": []}

    def fill(folder: Path, key: str) -> dict[str, Any]:
        files.write_json(folder / "report.json", claimed)
        return {}

    batch.lineage("evaluation_report").unlink()
    certify._asset.make("evaluation_report", params, batch, silent, fill)
    certify.run(params, batch, silent)
    assert read(batch.path)["status"] == "refused"


def test_weights_that_never_moved_are_refused_whatever_the_report_says(tmp_path: Path, repository: Path) -> None:
    params, batch = certified(tmp_path, repository)
    weights = (batch.original / "model.safetensors").read_bytes()

    def same(folder: Path, key: str) -> dict[str, Any]:
        (folder / "model.safetensors").write_bytes(weights)
        return {}

    def lie(folder: Path, key: str) -> dict[str, Any]:
        report = toy_report(params, batch, 0.95)
        files.write_json(folder / "report.json", {**report, "weights": {**report["weights"], "unlearned": "0" * 64}})
        return {}

    for name, fill in (("unlearned_checkpoint", same), ("evaluation_report", lie)):
        batch.lineage(name).unlink()
        certify._asset.make(name, params, batch, silent, fill)
    certify.run(params, batch, silent)
    assert read(batch.path)["status"] == "refused"
    assert any("other unlearned weights" in line for line in verification.verify(batch.path).mismatches)


def test_files_that_changed_are_not_certified(tmp_path: Path, repository: Path) -> None:
    params, batch = certified(tmp_path, repository)
    batch.lineage("certificate").unlink()
    (batch.unlearned / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(EvidenceError, match="its files are not the ones"):
        certify.run(params, batch, silent)


def test_assets_of_other_parameters_are_not_certified(issued: tuple[Params, BatchFolder], repository: Path) -> None:
    other = toy_params(repository, **{"original.steps": 3, "gates.retention_at_least.value": 0.5})
    with pytest.raises(ManifestError, match="deletion_plan was made under other parameters"):
        certify.run(other, issued[1], silent)


def test_a_copy_verifies_anywhere(copy: Path) -> None:
    found = verification.verify(copy)
    assert found.mismatches == ()
    assert found.batch == "b1"
    assert found.files >= 12
    assert any("it is hashed, not signed" in what for what in found.not_checked)


def test_every_file_counts(copy: Path) -> None:
    for file in sorted(file for file in copy.rglob("*") if file.is_file()):
        if ".locks" in file.parts or file.parent == copy:  # the bundle and its page: test_attest.py
            continue
        content = file.read_bytes()
        for damaged in (content[:-1], content + b" ", bytes([content[0] ^ 1]) + content[1:], None):
            if damaged is None:
                file.unlink()
            else:
                file.write_bytes(damaged)
            assert _refused(copy), f"{file.relative_to(copy)} was changed and nobody noticed"
            file.write_bytes(content)
    (copy / "unlearned_checkpoint" / "extra.bin").write_bytes(b"1")
    assert _refused(copy)


def test_every_byte_of_the_certificate_counts(copy: Path) -> None:
    path = copy / "certificate" / "certificate.json"
    content = path.read_bytes()
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert _refused(copy)


def _refused(folder: Path) -> bool:
    try:
        return not verification.verify(folder).verified
    except EvidenceError:
        return True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.update(claim_level="C3"), "certificate.json claim_level: says 'C3', the files say 'C1'"),
        (lambda t: t.update(goal="never_seen"), "certificate.json goal"),
        (lambda t: t["criteria"][0].update(value=1.0), "criteria[0].value"),
        (lambda t: t["requests"]["ids"].append("x"), "requests.ids[1]"),
        (lambda t: t.pop("not_claimed"), "not_claimed[0]"),
        (lambda t: t["assets"].pop("reference_checkpoint"), "assets.reference_checkpoint"),
        (lambda t: t["valid_for"].update({"model.safetensors": "0" * 64}), "valid_for.model.safetensors"),
        (lambda t: t["params"]["gates"]["forgetting_at_least"].update(value=0.1), "made under other parameters"),
        (lambda t: t["params"]["unlearn"]["method"].update(kind="naive"), "made under other parameters"),
        (lambda t: t["params"].pop("data"), "do not hold the sections"),
        (lambda t: t.update(params=[]), "do not hold the sections"),
        (lambda t: t.update(issued_at="yesterday"), "issued_at is not a time"),
        (lambda t: t.update(batch="b2"), "is about"),
        (lambda t: t.update(more=True), "certificate.json more"),
        (lambda t: t.update(claims=True), "certificate.json claims"),
    ],
)
def test_a_forged_certificate_is_told_apart(copy: Path, change: Callable[[dict[str, Any]], Any], said: str) -> None:
    forged(copy, change)
    found = verification.verify(copy)
    assert any(said in line for line in found.mismatches), found.mismatches


def test_another_spelling_of_the_same_certificate_is_an_edit(copy: Path) -> None:
    path = copy / "certificate" / "certificate.json"
    path.write_text(json.dumps(read(copy), indent=1))
    assert any("not canonical" in line for line in verification.verify(copy).mismatches)


def test_an_asset_of_another_run_breaks_the_link(copy: Path) -> None:
    """Swapping in a consistent asset (files and record) is seen where it was used."""
    record = files.read_json(copy / "lineage" / "forget_manifest.json")
    shutil.copy(copy / "retain_proxy_set" / "retain.parquet", copy / "forget_manifest" / "forget.parquet")
    outputs = verification.digests.of_folder(copy / "forget_manifest")
    record["outputs"] = [{"path": o.path, "sha256": o.sha256, "bytes": o.bytes} for o in outputs]
    record["sha256"] = verification.digests.of_listing(outputs)
    files.write_json(copy / "lineage" / "forget_manifest.json", record)
    lines = verification.verify(copy).mismatches
    assert any("unlearned_checkpoint was made from forget_manifest" in line for line in lines)


def test_a_symbolic_link_is_no_file(copy: Path) -> None:
    path = copy / "unlearned_checkpoint" / "model.safetensors"
    path.rename(copy / "weights")
    path.symlink_to(copy / "weights")
    assert any("model.safetensors: is missing" in line for line in verification.verify(copy).mismatches)


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"schema": "other/1"}', b"\xff"])
def test_what_is_no_batch_folder_is_said_to_be_none(copy: Path, content: bytes | None) -> None:
    path = copy / "certificate" / "certificate.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EvidenceError, match="certified batch"):
        verification.verify(copy)


def test_the_digest_of_the_parameters_is_that_of_the_lineage(issued: tuple[Params, BatchFolder]) -> None:
    params, batch = issued
    tree = read(batch.path)["params"]
    for stage in STAGES.values():
        assert certificate.sections_sha256(tree, stage.name) == params.section_digest(*stage.params)


def test_an_auditor_needs_no_torch(copy: Path) -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'torch', 'mlflow', 'dagster', 'sklearn', 'timm'}: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from unlearning.__main__ import main\n"
        f"sys.exit(main(['verify', {str(copy)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "batch b1: verified" in done.stdout
    assert "not checked: any signature: no trust file" in done.stdout
