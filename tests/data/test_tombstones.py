"""What was forgotten stays out of every later ingest, whatever it is called and however it is encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.toy_batch import snapshot
from tests.toy_pictures import saved, soft
from unlearning import files
from unlearning.data import index, pictures, tombstones
from unlearning.errors import DataError, EvidenceError
from unlearning.log import silent
from unlearning.verbs import ingest
from unlearning.workspace import Workspace

FORGOTTEN, KEPT = 1_000, 40
ENCODINGS = {"png": {}, "bmp": {}, "webp": {"lossless": True, "quality": 0, "method": 0}}


def _folder(home: Path, seeds: range, form: str = "png", side: int = 12, cells: int = 4, **options: object) -> Path:
    (home / "all").mkdir(parents=True)
    for seed in seeds:
        (home / "all" / f"{seed:05d}.{form}").write_bytes(saved(soft(seed, side, cells), form.upper(), **options))
    return home


@pytest.fixture(scope="module")
def forgotten(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, pa.Table]:
    """A root where a thousand images of a data set were forgotten."""
    home = tmp_path_factory.mktemp("tombstones")
    workspace = Workspace(home / "var")
    ingest.run(str(_folder(home / "first", range(FORGOTTEN))), "first", workspace, silent)
    table = index.read(workspace.dataset("first"))
    tombstones.add(workspace, "week-1", table, within=None)
    return workspace, table


@pytest.mark.parametrize("form", ENCODINGS)
def test_a_thousand_re_encoded_without_loss_are_all_kept_out(
    forgotten: tuple[Workspace, pa.Table], tmp_path: Path, form: str
) -> None:
    workspace, _ = forgotten
    source = _folder(tmp_path, range(FORGOTTEN + KEPT), form, **ENCODINGS[form])
    done = ingest.run(str(source), f"again-{form}", workspace, silent)
    assert done.described["images"] == KEPT
    assert done.described["forgotten_before"] == {"bytes" if form == "png" else "pixels": FORGOTTEN}
    kept = {pictures.pixel_sha256(soft(seed, 12, 4)) for seed in range(FORGOTTEN, FORGOTTEN + KEPT)}
    assert set(index.read(workspace.dataset(f"again-{form}"))["pixel_sha256"].to_pylist()) == kept


def test_a_source_of_nothing_else_is_refused_and_leaves_no_trace(
    forgotten: tuple[Workspace, pa.Table], tmp_path: Path
) -> None:
    workspace, _ = forgotten
    before = snapshot(workspace.root)
    with pytest.raises(DataError, match="everything in it was forgotten before"):
        ingest.run(str(_folder(tmp_path, range(20))), "nothing", workspace, silent)
    assert snapshot(workspace.root) == before


def test_with_loss_only_a_perceptual_hash_knows_it_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "var")
    ingest.run(str(_folder(tmp_path / "first", range(60), "png", 64, 16)), "first", workspace, silent)
    table = index.read(workspace.dataset("first"))
    source = str(_folder(tmp_path / "lossy", range(80), "jpeg", 64, 16, quality=90))
    tombstones.add(workspace, "week-1", table, within=None)
    assert ingest.run(source, "without", workspace, silent).described["images"] == 80
    tombstones.add(workspace, "week-1", table, within=8)
    described = ingest.run(source, "with", workspace, silent).described
    assert described["forgotten_before"].keys() == {"near"}
    assert described["forgotten_before"]["near"] >= 55  # of 60
    assert described["images"] >= 15  # of the 20 that were never forgotten


def test_a_tombstone_names_nothing_and_is_written_once(forgotten: tuple[Workspace, pa.Table]) -> None:
    workspace, table = forgotten
    path = workspace.root / "tombstones" / "week-1.parquet"
    content, written = path.read_bytes(), path.stat().st_mtime_ns
    tombstones.add(workspace, "week-1", table, within=None)
    assert path.stat().st_mtime_ns == written
    key = workspace.root / "keys" / "tombstones.key"
    assert key.stat().st_mode & 0o777 == 0o600
    for column in ("key", "sha256", "pixel_sha256"):
        assert not any(value.encode() in content for value in table[column].to_pylist())
    stored = tombstones._table(path)
    assert stored["pixels"].to_pylist() == sorted(stored["pixels"].to_pylist())
    assert not any(bytes.fromhex(value) in content for value in table["pixel_sha256"].to_pylist()[:50])


def test_a_lost_key_or_a_damaged_file_stops_every_ingest(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "var")
    ingest.run(str(_folder(tmp_path / "first", range(5))), "first", workspace, silent)
    tombstones.add(workspace, "week-1", index.read(workspace.dataset("first")), within=None)
    key, path = workspace.root / "keys" / "tombstones.key", workspace.root / "tombstones" / "week-1.parquet"
    held, stones = key.read_bytes(), path.read_bytes()
    key.unlink()
    with pytest.raises(EvidenceError, match="there is no such key"):
        tombstones.read(workspace)
    with pytest.raises(EvidenceError, match="there is no such key"):
        tombstones.add(workspace, "week-2", index.read(workspace.dataset("first")), within=None)
    files.write_bytes(key, held)
    files.write_bytes(path, stones[: len(stones) // 2])
    with pytest.raises(EvidenceError, match="not a file of tombstones"):
        ingest.run(str(_folder(tmp_path / "more", range(5, 9))), "more", workspace, silent)
    assert not workspace.dataset("more").exists()


def test_bits_are_counted() -> None:
    one = np.array([0b10110000, 0, 0, 0, 0, 0, 0, 0xFF], dtype=np.uint8)
    others = np.stack([one, np.zeros(8, dtype=np.uint8), ~one])
    assert tombstones.distances(one, others).tolist() == [0, 11, 64]
