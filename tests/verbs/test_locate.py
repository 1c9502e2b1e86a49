"""A picture locates stored images, and does nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.toy_batch import png, snapshot, toy_workspace
from unlearning.__main__ import main
from unlearning.data import index
from unlearning.errors import DataError
from unlearning.verbs import locate


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
