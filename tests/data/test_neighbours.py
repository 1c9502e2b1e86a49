"""What is near to what: against a comparison of every pair, over any split into blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.toy_batch import snapshot, toy_workspace
from unlearning import digests, files
from unlearning.data import index, neighbours, tombstones
from unlearning.errors import DataError
from unlearning.workspace import Workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return toy_workspace(tmp_path_factory.mktemp("neighbours"))


@pytest.mark.parametrize("bits", [0, 3, 16, 30])
def test_hashes_within_so_many_bits(bits: int) -> None:
    rng = np.random.default_rng(0)
    known = rng.integers(0, 2**63, 200, dtype=np.uint64)
    known[50:100] = known[:50] ^ np.uint64(0b10110)  # three bits away
    found = neighbours.near_by_hash(known, known[[3, 120, 3]], bits)
    for seed, rows in zip((3, 120, 3), found, strict=True):
        plain = [n for n in range(200) if (int(known[n]) ^ int(known[seed])).bit_count() <= bits]
        assert rows.tolist() == plain
    assert (53 in found[0]) == (bits >= 3)


@pytest.mark.parametrize("bits", range(8))
def test_many_hashes_are_found_by_their_parts_as_by_comparing_all(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(bits)
    known = rng.integers(0, 2**64, 3_000, dtype=np.uint64)
    for row in range(0, 1_000, 2):  # a neighbour each, up to twelve bits away, wherever those lie
        flipped = rng.choice(64, rng.integers(0, 13), replace=False)
        known[row + 1] = known[row] ^ np.bitwise_or.reduce(np.uint64(1) << flipped.astype(np.uint64), initial=0)
    by_parts = neighbours.near_by_hash(known, known[:1_000:2], bits)
    monkeypatch.setattr(neighbours, "_MANY", 10_000)
    compared = neighbours.near_by_hash(known, known[:1_000:2], bits)
    assert [rows.tolist() for rows in by_parts] == [rows.tolist() for rows in compared]
    pairs = sum(len(rows) > 1 for rows in by_parts)
    assert 0 < pairs < 500


def test_features_of_a_high_cosine_over_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    known = rng.standard_normal((90, 5)).astype(np.float32)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    seeds = np.array([0, 7, 8, 88])
    plain = [[n for n in range(90) if n == seed or known[n] @ known[seed] >= 0.7] for seed in seeds]
    assert [rows.tolist() for rows in neighbours.near_by_feature(known, seeds, 0.7)] == plain
    monkeypatch.setattr(neighbours, "_ROWS", 16)
    monkeypatch.setattr(neighbours, "_SEEDS", 3)
    assert [rows.tolist() for rows in neighbours.near_by_feature(known, seeds, 0.7)] == plain
    assert all(len(rows) > 1 for rows in plain)


def test_hashes_are_made_at_ingest_row_for_row(workspace: Workspace) -> None:
    table = index.read(workspace.dataset("toys"))
    made = neighbours.hashes(workspace, "toys")
    anew = np.stack([tombstones.perceptual_hash(image) for image in tombstones.images(workspace, table)])
    assert made.tolist() == neighbours.as_numbers(anew).tolist()
    assert len(np.unique(made)) > 30  # of 40: not a constant


def test_a_data_set_without_hashes_gets_them_beside_and_a_damaged_file_is_refused(tmp_path: Path) -> None:
    workspace = toy_workspace(tmp_path)
    folder, before = workspace.dataset("toys"), neighbours.hashes(workspace, "toys")
    content = (folder / "hashes.npy").read_bytes()
    files.write_bytes(folder / "hashes.npy", content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match="not the one in dataset"):
        neighbours.hashes(workspace, "toys")
    (folder / "hashes.npy").unlink()
    with pytest.raises(DataError, match="no such perceptual hashes"):
        neighbours.hashes(workspace, "toys")
    described = index.describe(folder)
    described.pop("hashes_sha256")
    files.write_json(folder / "dataset.json", described)
    left = snapshot(folder)
    assert neighbours.hashes(workspace, "toys").tolist() == before.tolist()
    assert snapshot(folder) == left  # what DVC keeps is not written to


def test_features_are_of_this_very_data_set_or_refused(workspace: Workspace) -> None:
    folder = neighbours.feature_folder(workspace, "toys", "auto")
    with pytest.raises(DataError, match="run `unlearning embed toys --extractor auto`"):
        neighbours.features(workspace, "toys", "auto")
    sha256 = index.describe(workspace.dataset("toys"))["index_sha256"]
    table = np.arange(80, dtype=np.float32).reshape(40, 2) + 1
    neighbours.write_features(folder, table, {"index_sha256": sha256})
    np.testing.assert_allclose(np.linalg.norm(neighbours.features(workspace, "toys", "auto"), axis=1), 1, atol=1e-6)
    neighbours.write_features(folder, table, {"index_sha256": digests.of_value("another")})
    with pytest.raises(DataError, match="features of an earlier data set"):
        neighbours.features(workspace, "toys", "auto")
    neighbours.write_features(folder, table, {"index_sha256": sha256})
    np.save(folder / "features.npy", table)
    with pytest.raises(DataError, match="not the features that"):
        neighbours.features(workspace, "toys", "auto")
