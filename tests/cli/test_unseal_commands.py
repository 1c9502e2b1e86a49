"""Sealing and unsealing from the command line, with an officer whose key for sealing never comes here."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from unlearning import digests, files
from unlearning.__main__ import main
from unlearning.evidence import key_files, sealed_models, sealing_key
from unlearning.workspace import Workspace

MODEL = "digits"


def said(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict[str, Any]]:
    assert main([str(word) for word in words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 2
    return capsys.readouterr().err


@pytest.fixture
def officer(tmp_path: Path) -> Path:
    """The officer's machine: both halves."""
    home, private = tmp_path / "officer", X25519PrivateKey.generate()
    home.mkdir()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key_files.write_secret(home / "sealing.pem", pem)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (home / "sealing.pub.pem").write_bytes(public)
    return home


def _seal(workspace: Workspace, folder: Path) -> None:
    """Version 0 was served once; it is sealed, as a purge seals it."""
    now = datetime.now(UTC)
    times = [(now + timedelta(days=days)).isoformat(timespec="seconds") for days in (0, 30)]
    found, public = digests.of_folder(folder), sealing_key.public(workspace)
    told = {"batch": "b1", "model": MODEL, "sealed_at": times[0], "expires_at": times[1]}
    sealed_models.store(workspace, folder, found, public, **told)
    row = {"version": 0, "checkpoint": "gone", "sha256": digests.of_listing(found), "batch": "b1"}
    history = workspace.model(MODEL) / "history.jsonl"
    files.write_bytes(history, files.canonical({**row, "certificate_sha256": None, "before": None}) + b"\n")


def test_sealed_here_opened_by_the_officer_alone(
    tmp_path: Path, officer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, root = Workspace(tmp_path / "var"), ("--root", tmp_path / "var")
    made = said(capsys, "keys", "init", *root, "--officer-sealing", officer / "sealing.pub.pem")
    assert sorted(one["made"] for one in made) == ["pipeline", "privacy_officer", "sealing"]
    assert said(capsys, "keys", "init", *root) == []
    (listed,) = [one for one in said(capsys, "keys", "list", *root) if one["role"] == "sealing"]
    assert listed == {"role": "sealing", "keyid": made[-1]["keyid"], "private_half_here": False}
    assert not sealing_key.private_file(workspace).exists()

    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"weights that knew")
    _seal(workspace, checkpoint)
    words, to = ("unseal", MODEL, "0", *root, "--reason", "an audit"), tmp_path / "opened"
    assert "there is no such key" in refused(capsys, *words, "--to", to)
    assert "not there yet" in refused(capsys, *words, "--to", checkpoint, "--key", officer / "sealing.pem")
    assert not to.exists()
    (opened,) = said(capsys, *words, "--to", to, "--key", officer / "sealing.pem")
    assert opened["folder"] == str(to)
    assert (to / "model.safetensors").read_bytes() == b"weights that knew"
    (told,) = said(capsys, "unseal", MODEL, *root)
    assert [(one["versions"], one["key"]) for one in told["sealed"]] == [([0], made[-1]["keyid"])]
    assert [(row["reason"], row["key"]) for row in told["opened"]] == [("an audit", made[-1]["keyid"])]


@pytest.mark.parametrize(
    ("words", "say"),
    [
        (("unseal", "../digits"), "is no model's name"),
        (("unseal", MODEL, "--reason", "why"), "name the VERSION that is to be opened"),
        (("unseal", MODEL, "0", "--to", "old"), "say why it is opened"),
        (("unseal", MODEL, "0", "--reason", "why"), "say why it is opened"),
        (("unseal", MODEL, "0", "--reason", "why", "--to", "old"), "'0' of digits is not sealed here"),
    ],
)
def test_what_is_not_said_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], say: str
) -> None:
    assert say in refused(capsys, *words, "--root", tmp_path / "var")
    assert not (tmp_path / "var").exists()


def test_without_anything_sealed_the_list_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (told,) = said(capsys, "unseal", MODEL, "--root", tmp_path / "var")
    assert told == {"model": MODEL, "sealed": [], "opened": []}
