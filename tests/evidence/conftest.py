"""Two batches that were served, one after the other; a test may ruin its own copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.evidence import batch_by_hand
from tests.evidence.served import promoted
from tests.toy_batch import toy_params
from tests.toy_batch import toy_workspace as workspace_of
from unlearning.params import Params
from unlearning.workspace import BatchFolder, Workspace


@pytest.fixture(scope="session")
def made(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Path]:
    """Three generations: two batches were served, one after the other. Copied before anybody writes."""
    params, workspace = toy_params(repository), workspace_of(tmp_path_factory.mktemp("served"))
    promoted(params, workspace, 1, "star")
    promoted(params, workspace, 2, "circle")
    return params, workspace.root


@pytest.fixture
def params(made: tuple[Params, Path]) -> Params:
    return made[0]


@pytest.fixture
def workspace(made: tuple[Params, Path], tmp_path: Path) -> Workspace:
    shutil.copytree(made[1], tmp_path / "var")
    return Workspace(tmp_path / "var")


@pytest.fixture(scope="session")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Path]:
    """The parameters and the root of a certified batch that was written by hand. Copied before anybody writes."""
    params = batch_by_hand.toy_params()
    batch = batch_by_hand.made(Workspace(tmp_path_factory.mktemp("by_hand")), params)
    batch_by_hand.certified(batch, params)
    return params, batch.workspace.root


@pytest.fixture
def batch(by_hand: tuple[Params, Path], tmp_path: Path) -> BatchFolder:
    """A copy of that batch, to ruin."""
    return Workspace(Path(shutil.copytree(by_hand[1], tmp_path / "root"))).batch("b1")
