"""A picture locates stored images, and does nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.toy_batch import archive, png, snapshot, toy_workspace
from tests.toy_pictures import saved, soft
from unlearning.__main__ import main
from unlearning.data import index, tombstones
from unlearning.errors import DataError
from unlearning.log import silent
from unlearning.verbs import ingest, locate
from unlearning.workspace import Workspace


def test_bytes_pixels_or_nothing(tmp_path: Path) -> None:
    workspace = toy_workspace(tmp_path)
    before = snapshot(workspace.root)
    table = index.read(workspace.dataset("toys"))
    stored = png(2003)  # the triangle of that number
    sink = io.BytesIO()
    Image.open(io.BytesIO(stored)).save(sink, "BMP")
    by_bytes, by_pixels = locate.run(stored, "toys", workspace), locate.run(sink.getvalue(), "toys", workspace)
    assert (len(by_bytes["bytes"]), by_bytes["pixels"]) == (1, [])
    assert (by_pixels["bytes"], by_pixels["pixels"]) == ([], by_bytes["bytes"])
    row = table["key"].to_pylist().index(by_bytes["bytes"][0])
    assert table["class"][row].as_py() == "triangle"
    assert locate.run(png(77), "toys", workspace) == {"dataset": "toys", "bytes": [], "pixels": []}
    assert snapshot(workspace.root) == before


def test_near_ones_nearest_first_and_none_of_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(tmp_path / "var")
    entries = [(f"{seed}.png", saved(soft(seed, 48), "PNG")) for seed in range(10)]
    entries += [
        ("twin.jpg", saved(soft(4, 48), "JPEG", quality=90)),
        ("worse.jpg", saved(soft(4, 48), "JPEG", quality=9)),
    ]
    ingest.run(str(archive(tmp_path / "all.tar", *entries)), "soft", workspace, silent)
    before = snapshot(workspace.root)
    asked = soft(4, 48).resize((40, 40), Image.Resampling.BICUBIC)
    found = locate.run(saved(asked, "PNG"), "soft", workspace, near=8)
    assert (found["bytes"], found["pixels"]) == ([], [])
    assert set(found["perceptual"]) == {"4", "twin", "worse"}
    one = tombstones.perceptual_hash(asked)
    table = index.read(workspace.dataset("soft"))
    pictures = dict(zip(table["key"].to_pylist(), tombstones.images(workspace, table), strict=True))
    apart = [
        tombstones.distances(one, tombstones.perceptual_hash(pictures[key])[None])[0] for key in found["perceptual"]
    ]
    assert apart == sorted(apart)
    stored = locate.run(entries[4][1], "soft", workspace, near=8)
    assert stored["bytes"] == ["4"]
    assert "4" not in stored["perceptual"]
    assert "perceptual" not in locate.run(entries[4][1], "soft", workspace)
    assert snapshot(workspace.root) == before
    for bits in (-2, 17):
        with pytest.raises(DataError, match="0 to 16 are right"):
            locate.run(entries[4][1], "soft", workspace, near=bits)
    (tmp_path / "one.png").write_bytes(entries[4][1])
    words = ["locate", str(tmp_path / "one.png"), "--dataset", "soft", "--root", str(workspace.root), "--near"]
    assert main(words) == 0
    assert '"perceptual": ["twin"' in capsys.readouterr().out


def test_what_is_no_picture_and_no_data_set_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = toy_workspace(tmp_path)
    with pytest.raises(DataError, match="not a picture"):
        locate.run(b"GIF89a", "toys", workspace)
    with pytest.raises(DataError, match="data set name"):
        locate.run(png(0), "../toys", workspace)
    (tmp_path / "one.png").write_bytes(png(0))
    assert main(["locate", str(tmp_path / "one.png"), "--dataset", "none", "--root", str(workspace.root)]) == 2
    assert "there is no ingested data set" in capsys.readouterr().err
    assert main(["locate", str(tmp_path / "one.png"), "--dataset", "toys", "--root", str(workspace.root)]) == 0
    assert '"bytes": ["toys' in capsys.readouterr().out
