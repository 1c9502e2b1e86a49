"""A key is an opaque name: it is compared, and never becomes a part of a path, whatever it spells."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.toy_batch import archive, manifests, png, request_body, request_id, toy_params
from unlearning.data import index
from unlearning.errors import DataError, UnlearningError
from unlearning.log import silent
from unlearning.requests import schema
from unlearning.requests.ledger import Ledger
from unlearning.verbs import ingest, request
from unlearning.workspace import Workspace

CANARY = "canary4711"
SPELLED = ("../../../etc/passwd", "/etc/passwd", "a/../../b", "..", ".", "~root", "con", "-rf", "$(touch x)", "a" * 128)
NO_TEXT = ("a\0b", "a\nb", "\x1b[2J", " ", "", "a" * 129, "a\ud800", "\u202egnp.exe")


def _dataset(home: Path) -> Workspace:
    """Forty pictures whose own keys are plain, so that they are kept."""
    workspace = Workspace(home / "var")
    members = [
        (f"{CANARY}-{n}.{e}", c) for n in range(40) for e, c in (("png", png(n)), ("cls", b"ab"[n % 2 : n % 2 + 1]))
    ]
    ingest.run(str(archive(home / "s.tar", *members)), "toys", workspace, silent)
    return workspace


def test_no_path_is_made_from_a_key(repository: Path, tmp_path: Path) -> None:
    workspace = _dataset(tmp_path)
    keys = index.read(workspace.dataset("toys"))["key"].to_pylist()
    assert all(key.startswith(CANARY) for key in keys)
    selectors = [{"sample_key": key} for key in (*keys[:3], *SPELLED)]
    path = tmp_path / "requests.json"
    path.write_text(json.dumps(request_body(selectors=selectors)))
    request.add(path, workspace)
    manifests(toy_params(repository), workspace.batch("b1"))
    made = [Path(home) / name for home, folders, files in os.walk(tmp_path) for name in (*folders, *files)]
    assert len(made) > 20
    assert [path for path in made if CANARY in str(path)] == []
    assert {path.name for path in tmp_path.iterdir()} == {"var", "s.tar", "requests.json"}


@pytest.mark.parametrize("key", NO_TEXT)
def test_a_key_that_is_no_line_of_text_is_refused(key: str) -> None:
    body = request_body(request_id=request_id(1), selectors=[{"sample_key": key}])
    with pytest.raises(UnlearningError, match=r"^here: "):
        schema.parse(json.dumps(body), "here")


@pytest.mark.parametrize("name", [*SPELLED[:5], "a/b", "a\0b", "a" * 200, "", "A", " a"])
def test_names_of_folders_are_plain(name: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "var")
    with pytest.raises(DataError):
        ingest.run("digits", name, workspace, silent)
    with pytest.raises(UnlearningError):
        workspace.batch(name if name != "A" else "A/")
    with pytest.raises(DataError, match="not plain names"):
        index.shard_path(workspace, "toys", name if name not in ("A",) else "A/")
    assert not workspace.root.exists()
    Ledger(tmp_path / "ledger.sqlite")


@pytest.mark.parametrize("key", ["../x", "/x", "a//x", "a\\x", "..%2fx/../y"])
def test_a_shard_cannot_bring_such_a_key(key: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "s.tar", (f"{key}.png", png(1)))
    with pytest.raises(DataError, match="leads elsewhere"):
        ingest.run(str(path), "toys", Workspace(tmp_path / "var"), silent)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["s.tar"]
