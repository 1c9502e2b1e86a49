"""One batch that was served, and what a real run leaves beside it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.evidence.served import promoted
from tests.toy_batch import request_body, request_id, toy_params, toy_workspace
from unlearning.data import index, neighbours
from unlearning.params import Params
from unlearning.workspace import BatchFolder, Workspace


@pytest.fixture(scope="session")
def made(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Path]:
    """One batch was served: it forgot the ten stars. What a real run leaves beside it lies there too."""
    params, workspace = toy_params(repository), toy_workspace(tmp_path_factory.mktemp("purge"))
    batch = promoted(params, workspace, 1, "star")
    _litter(params, batch)
    return params, workspace.root


def _litter(params: Params, batch: BatchFolder) -> None:
    """Copies that a run, an extractor and a controller leave."""
    root, table = batch.workspace.root, index.read(batch.workspace.dataset("toys"))
    said = {"index_sha256": index.describe(batch.workspace.dataset("toys"))["index_sha256"]}
    rows = np.random.default_rng(0).normal(size=(len(table), 4)).astype(np.float32)
    neighbours.write_features(neighbours.feature_folder(batch.workspace, "toys", "auto"), rows, said)
    (root / "work" / "measured").mkdir(parents=True)
    (root / "work" / "measured" / "a.safetensors").write_bytes(b"looks of images to forget")
    done = root / "inbox" / "done"
    done.mkdir(parents=True)
    (done / "mine.json").write_text(json.dumps(request_body(request_id=request_id(1))))
    (done / "another.json").write_text(json.dumps(request_body(request_id=request_id(7))))
    (batch.path / "interim_filter").mkdir()
    (batch.path / "interim_filter" / "filter.json").write_text("{}")


@pytest.fixture
def params(made: tuple[Params, Path]) -> Params:
    return made[0]


@pytest.fixture
def batch(made: tuple[Params, Path], tmp_path: Path) -> BatchFolder:
    shutil.copytree(made[1], tmp_path / "var")
    return Workspace(tmp_path / "var").batch("b1")
