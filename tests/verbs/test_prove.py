"""What one person is handed, as they would check it; and the log's head, as whoever keeps it elsewhere would."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.toy_batch import certified
from unlearning import files
from unlearning.__main__ import main
from unlearning.data import index
from unlearning.evidence import bundle, log, proofs, trust
from unlearning.params import Params
from unlearning.verbs import promote
from unlearning.workspace import BatchFolder, Workspace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[Params, Path]:
    params, batch = certified(tmp_path_factory.mktemp("proved"), repository)
    return params, batch.workspace.root


@pytest.fixture
def batch(made: tuple[Params, Path], tmp_path: Path) -> BatchFolder:
    shutil.copytree(made[1], tmp_path / "var")
    return Workspace(tmp_path / "var").batch("b1")


def prove(batch: BatchFolder, *words: str) -> int:
    return main(["prove", "--root", str(batch.workspace.root), "--batch", batch.key, *words])


def row(path: Path) -> dict[str, str]:
    found: dict[str, str] = pq.read_table(path).slice(0, 1).to_pylist()[0]
    return found


def picture(batch: BatchFolder, stored: dict[str, str]) -> bytes:
    shard = index.shard_path(batch.workspace, stored["dataset"], stored["shard"])
    start = int(stored["offset"])
    return shard.read_bytes()[start : start + int(stored["bytes"])]


def test_a_forgotten_image_is_in_the_one_set_and_not_in_the_other(batch: BatchFolder, tmp_path: Path) -> None:
    stored, mine = row(batch.forget), tmp_path / "proof.json"
    assert prove(batch, stored["key"], "-o", str(mine)) == 0
    proof = proofs.read(mine.read_bytes(), "proof")
    assert [(entry.set, entry.member) for entry in proof.sets] == [("forget", True), ("retain", False)]
    assert proofs.problems(proof, bundle.roots(batch), picture(batch, stored)) == []
    said = mine.read_text()
    assert stored["key"] not in said
    assert len(said) < 2_000


def test_the_person_checks_it_with_the_second_verifier_and_their_own_picture(
    batch: BatchFolder, tmp_path: Path, repository: Path
) -> None:
    stored, mine, image = row(batch.forget), tmp_path / "proof.json", tmp_path / "mine.png"
    image.write_bytes(picture(batch, stored))
    assert prove(batch, "--image", str(image), "--in", "forget", "--in", "retain", "-o", str(mine)) == 0
    script = repository / "infra" / "verifier" / "verify_certificate.py"
    words = [str(bundle.file(batch)), "--trust", str(trust.file(batch.workspace)), "--proof", str(mine), "--image"]

    def checked(path: Path) -> int:
        return subprocess.run([sys.executable, "-I", str(script), *words, str(path)], capture_output=True).returncode

    assert checked(image) == 0
    image.write_bytes(image.read_bytes() + b"x")
    assert checked(image) == 1


def test_a_kept_image_an_unknown_one_and_a_name(batch: BatchFolder, capsys: pytest.CaptureFixture[str]) -> None:
    kept = row(batch.retain)
    assert prove(batch, kept["key"], "--in", "retain", "--in", "dataset") == 0
    first = proofs.read(capsys.readouterr().out.encode(), "proof")
    assert [(entry.set, entry.member) for entry in first.sets] == [("retain", True), ("dataset", True)]
    for words, member in ((["--name", kept["key"]], True), (["--name", "nobody"], False)):
        assert prove(batch, *words) == 0
        proof = proofs.read(capsys.readouterr().out.encode(), "proof")
        assert [(entry.set, entry.member) for entry in proof.sets] == [("dataset_keys", member)]
        assert proofs.problems(proof, bundle.roots(batch), words[1].encode()) == []


def test_it_is_proved_still_when_the_data_set_has_changed(batch: BatchFolder, tmp_path: Path) -> None:
    """The tokens of the version that was committed to are kept: a purge takes none of them."""
    stored = row(batch.forget)
    home = batch.workspace.dataset("toys")
    table = pq.read_table(home / "index.parquet", schema=index.COLUMNS)
    index.write(home / "index.parquet", table.slice(5))
    assert prove(batch, stored["key"], "--in", "dataset", "-o", str(tmp_path / "proof.json")) == 0


def test_what_cannot_be_proved_is_one_sentence(
    batch: BatchFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prove(batch, "no-such-key") == 2
    assert "is no key of batch b1's sets" in capsys.readouterr().err
    assert main(["prove", "--root", str(tmp_path / "none"), "--batch", "b1", "x"]) == 2
    assert "has no certificate" in capsys.readouterr().err
    table = pq.read_table(batch.retain)
    index.write(batch.retain, table.slice(1))
    assert prove(batch, row(batch.forget)["key"]) == 2
    assert "not those that were certified" in capsys.readouterr().err
    assert prove(batch, "--image", str(tmp_path / "no.png")) == 2


def test_a_head_that_was_kept_elsewhere_tells_a_log_that_was_rewritten(
    made: tuple[Params, Path], batch: BatchFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, note = ["log", "--root", str(batch.workspace.root)], tmp_path / "note"
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    path = log.file(batch.workspace)
    assert said == {"size": log.head(path).size, "root": log.head(path).root.hex()}
    assert main([*words, "--checkpoint", str(note)]) == 0
    promote.run(made[0], batch)
    assert log.head(path).size > said["size"]
    assert main([*words, "--check", str(note)]) == 0
    lines = path.read_bytes().splitlines(keepends=True)
    files.write_bytes(path, b"".join([lines[1], lines[0], *lines[2:]]))
    assert main([*words, "--check", str(note)]) == 1
    assert "it was rewritten" in capsys.readouterr().out
    note.write_bytes(note.read_bytes().replace(b"\n%d\n" % said["size"], b"\n%d\n" % (said["size"] - 1)))
    assert main([*words, "--check", str(note)]) == 1
    assert "signed by none of the pipeline's keys" in capsys.readouterr().out
    assert main([*words, "--check", str(tmp_path / "none")]) == 2
