"""Keys, bundles and signatures from the command line, with an officer whose private key never comes here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tests.toy_batch import certified
from unlearning.__main__ import main
from unlearning.errors import EvidenceError
from unlearning.evidence import bundle, bundle_verification, key_files, log, trust
from unlearning.evidence.bundle_verification import Beside
from unlearning.verbs import promote
from unlearning.workspace import Workspace


def said(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict[str, Any]]:
    assert main([str(word) for word in words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 2
    return capsys.readouterr().err


@pytest.fixture
def officer(tmp_path: Path) -> Path:
    """The officer's machine: a private key, and its public half beside it."""
    home = tmp_path / "officer"
    home.mkdir()
    key_files.write_secret(home / "private.pem", key_files.fresh())
    private = load_pem_private_key((home / "private.pem").read_bytes(), None)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (home / "public.pem").write_bytes(public)
    return home


def test_two_keys_on_two_machines(
    tmp_path: Path, repository: Path, officer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ("--root", tmp_path / "var")
    made = said(capsys, "keys", "init", *root, "--officer-public", officer / "public.pem")
    assert sorted(one["made"] for one in made) == ["pipeline", "privacy_officer"]
    assert said(capsys, "keys", "init", *root, "--officer-public", officer / "public.pem") == []
    here = {one["role"]: one["private_half_here"] for one in said(capsys, "keys", "list", *root)}
    assert here == {"pipeline": True, "privacy_officer": False}
    assert "is not on this machine" in refused(capsys, "keys", "rotate", *root, "privacy_officer")

    params, batch = certified(tmp_path, repository)
    with pytest.raises(EvidenceError, match="countersign"):
        promote.run(params, batch)
    (waiting,) = batch.path.glob("unsigned/*.intoto.jsonl")
    trusted = tmp_path / "trust.json"
    assert main(["keys", "export", *map(str, root), "-o", str(trusted)]) == 0
    assert trusted.read_bytes() == trust.file(batch.workspace).read_bytes()
    assert main(["verify", str(waiting), "--trust", str(trusted)]) == 1
    capsys.readouterr()

    # On the officer's machine: the file, the trust file, the key.
    signed = officer / "signed.jsonl"
    words = ("countersign", waiting, "--key", officer / "private.pem", *root)
    assert "name the trust file" in refused(capsys, *words)
    said(capsys, *words, "--trust", trusted, "-o", signed)
    report = tmp_path / "report.json"
    assert main(["verify", str(signed), "--trust", str(trusted), "--json", str(report)]) == 0
    assert json.loads(report.read_bytes())["status"] == "issued"
    said_page = said(capsys_cleared(capsys), "page", signed, "--trust", trusted, "-o", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert said_page == [{"page": str(tmp_path / "page.html")}]

    # Or by the batch's key, where the officer comes to this machine.
    (one,) = said(capsys, "countersign", batch.key, "--key", officer / "private.pem", *root)
    assert Path(one["bundle"]).read_bytes() == signed.read_bytes()
    assert "nothing waits" in refused(capsys, "countersign", batch.key, "--key", officer / "private.pem", *root)
    assert promote.run(params, batch).changed


def capsys_cleared(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    capsys.readouterr()
    return capsys


def test_rotated_revoked_and_attested_again(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, batch = certified(tmp_path, repository)
    root = ("--root", batch.workspace.root)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    attest = ("attest", *root, "--batch", batch.key, "--params", tmp_path / "params.yaml")
    (first,) = said(capsys, *attest)
    assert (first["changed"], first["waits_for_officer"], first["sequence"]) == (False, False, 0)
    before = {one["role"]: one["keyid"] for one in said(capsys, "keys", "list", *root)}
    (rotated,) = said(capsys, "keys", "rotate", *root, "pipeline")
    assert rotated["keyid"] != before["pipeline"]
    assert main(["verify", str(bundle.file(batch))]) == 0  # the old key was good when it signed
    capsys.readouterr()
    assert "is not the id of one key" in refused(
        capsys, "keys", "revoke", *root, "zz", "--since", "2026-01-01T00:00:00Z"
    )
    assert "2026-99-01" in refused(capsys, "keys", "revoke", *root, before["pipeline"], "--since", "2026-99-01")
    said(capsys, "keys", "revoke", *root, before["pipeline"][:12], "--since", "2020-01-01T00:00:00Z")
    assert main(["verify", str(bundle.file(batch))]) == 1
    assert main(["verify", str(batch.path)]) == 1
    capsys.readouterr()
    (again,) = said(capsys, *attest)  # by the key that is good now
    assert again["changed"]
    assert main(["verify", str(bundle.file(batch))]) == 0


def test_no_private_byte_is_ever_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ("--root", str(tmp_path / "var"))
    for words in (["init"], ["list"], ["rotate", "pipeline"], ["export"]):
        assert main(["keys", words[0], *root, *words[1:]]) == 0
    told = "".join(capsys.readouterr())
    vault = Workspace(tmp_path / "var").vault
    secrets = [path.read_text().splitlines()[1] for path in vault.glob("*.ed25519")]
    assert len(secrets) == 2
    assert not any(secret in told or secret[:20] in told for secret in secrets)
    assert "PRIVATE" not in told
    (vault / "pipeline.ed25519").chmod(0o644)
    assert "others than its owner may read" in refused(capsys, "keys", "list", *root)
    (vault / "pipeline.ed25519").chmod(0o600)
    (vault / "pipeline.ed25519").write_bytes(b"-----BEGIN")
    assert "not an Ed25519 private key" in refused(capsys, "keys", "list", *root)


def test_three_processes_attest_at_once_and_one_of_them_writes(tmp_path: Path, repository: Path) -> None:
    params, batch = certified(tmp_path, repository)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    shutil.rmtree(batch.workspace.root / "log")
    for path in batch.path.glob("*.erasure.*"):
        path.unlink()
    words = ("attest", "--batch", batch.key, "--params", tmp_path / "params.yaml", "--root", batch.workspace.root)
    command = [sys.executable, "-m", "unlearning", *map(str, words)]
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=repository) for _ in range(3)]
    told = [json.loads(one.communicate()[0].splitlines()[-1]) for one in several]
    assert [one.returncode for one in several] == [0, 0, 0]
    assert sorted(one["changed"] for one in told) == [False, False, True]
    given = Beside(log=log.file(batch.workspace).read_bytes())
    found = bundle_verification.verify_file(bundle.file(batch), trust.load(trust.file(batch.workspace)), given)
    assert found.problems == ()
    assert found.bundle is not None
    assert len(log.read(log.file(batch.workspace))) == len(found.bundle.lines)
