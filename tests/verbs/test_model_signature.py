"""The signature that is handed out with a model, checked by the package that defines it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.toy_batch import certified
from unlearning.__main__ import main
from unlearning.verbs import model_signature, promote
from unlearning.workspace import Workspace


def test_what_is_served_is_signed_and_a_changed_byte_is_noticed(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    verifying = pytest.importorskip("model_signing.verifying", reason="the extra `model-signature` is not installed")
    params, batch = certified(tmp_path, repository)
    words = ["export-signature", params.model.name, "--root", str(batch.workspace.root)]
    assert main(words) == 2
    assert "is served; promote one first" in capsys.readouterr().err
    assert main(["export-signature", "../x", "--root", str(tmp_path)]) == 2

    promote.run(params, batch)
    assert main(words) == 0
    home = batch.workspace.model(params.model.name) / "versions"
    check = verifying.Config().use_elliptic_key_verifier(public_key=model_signature.public_key(batch.workspace))
    check.verify(home / "1", home / "1.model.sig")
    assert (batch.workspace.vault / "model-signature.pem").stat().st_mode & 0o077 == 0
    assert [path.name for path in home.iterdir() if "sig" in path.name] == ["1.model.sig"]

    weights = home / "1" / "model.safetensors"
    content = weights.read_bytes()
    weights.unlink()  # a hard link
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="mismatch"):
        check.verify(home / "1", home / "1.model.sig")
    capsys.readouterr()
    assert main(words) == 2
    assert "was served as" in capsys.readouterr().err

    monkeypatch.setitem(sys.modules, "model_signing", None)
    assert main(words) == 2
    assert "unlearning[model-signature]" in capsys.readouterr().err
    assert Workspace(batch.workspace.root).vault.is_dir()
