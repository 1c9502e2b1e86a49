"""A feature table of a data set: row for row, once, and of nothing else."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.toy_batch import TOYS, archive, picture_tree, png, toy_params, toy_workspace
from unlearning.__main__ import main
from unlearning.data import index, neighbours, pictures
from unlearning.data.images import ImageSet
from unlearning.errors import DataError
from unlearning.log import silent
from unlearning.metrics.extractors import in_domain
from unlearning.verbs import embed, ingest
from unlearning.workspace import Workspace


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A classifier that is hardly trained, and no published weights."""
    monkeypatch.setattr(in_domain, "_STEPS", 3)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))


def test_each_row_has_its_own_features_and_copies_the_very_same(repository: Path, tmp_path: Path) -> None:
    params, workspace, tree = toy_params(repository), Workspace(tmp_path / "var"), picture_tree(tmp_path / "pictures")
    Image.open(io.BytesIO(png(2003))).save(tree / "star" / "person-6" / "copy.bmp")  # a triangle's pixels
    ingest.run(str(tree), "toys", workspace, silent)
    said = embed.run(params, workspace, silent)
    assert said["dataset"] == "toys"
    assert "classifier of 4 classes" in said["extractor"]
    known = neighbours.features(workspace, "toys", "auto")
    table = index.read(workspace.dataset("toys"))
    assert known.shape[0] == len(table) == 41
    (weights,) = (workspace.root / "work" / "extractors").glob("*.safetensors")
    seen = in_domain.of_file(weights, torch.device("cpu"))
    rows = torch.tensor([0, 17, 39])
    anew = seen(ImageSet(table, workspace, params.data)(rows)).numpy()
    np.testing.assert_allclose(known[rows], anew / np.linalg.norm(anew, axis=1, keepdims=True), atol=1e-4)
    pixels = np.array(table["pixel_sha256"].to_pylist())
    one, other = np.flatnonzero(pixels == pictures.pixel_sha256(Image.open(io.BytesIO(png(2003)))))
    assert known[one].tobytes() == known[other].tobytes()
    assert known[one].tobytes() != known[0].tobytes()


def test_again_it_is_reused_until_pictures_or_their_size_change(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = toy_workspace(tmp_path)
    where = neighbours.feature_folder(workspace, "toys", "auto") / "features.npy"
    embed.run(toy_params(repository), workspace, silent)
    made = where.stat().st_mtime_ns
    embed.run(toy_params(repository), workspace, silent)
    assert where.stat().st_mtime_ns == made
    embed.run(toy_params(repository, **{"data.image_size": 6}), workspace, silent)
    assert where.stat().st_mtime_ns != made
    params = tmp_path / "params.yaml"
    params.write_text((repository / "params.yaml").read_text())
    words = ["embed", "toys", "--extractor", "in_domain", "--params", str(params), "--root", str(workspace.root)]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["asked"] == "in_domain"


def test_what_is_not_there_is_named(repository: Path, tmp_path: Path) -> None:
    workspace = toy_workspace(tmp_path)
    for asked, why in (("clip", "no weights on this machine"), ("eyes", "there is no extractor"), ("../x", "1 to 32")):
        with pytest.raises(DataError, match=why):
            embed.run(toy_params(repository), workspace, silent, asked)
    alone = archive(tmp_path / "one.tar", *((f"{n}.png", png(n)) for n in range(4)))
    ingest.run(str(alone), "alone", workspace, silent)
    with pytest.raises(DataError, match="of one class"):
        embed.run(toy_params(repository, **{**TOYS, "data.name": "alone"}), workspace, silent)
