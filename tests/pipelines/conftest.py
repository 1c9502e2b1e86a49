"""A line that ran: one root for all tests that only look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from pipelines.tracking import Place, Tracking
from tests.pipelines.line import Line
from tests.toy_batch import file_requests, request_body, request_id, toy_workspace


@dataclass(frozen=True)
class Ran:
    """Two batches, made one after the other, and what each run returned."""

    line: Line
    first: dg.ExecuteInProcessResult
    second: dg.ExecuteInProcessResult


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables without a row: creating them takes seconds, copying them does not."""
    place = Place.under(tmp_path_factory.mktemp("mlflow"), None, 3.0)
    Tracking(place, pytest.fail).ask("tests", "look", {}, lambda client: client.search_experiments())
    return place.home / "mlflow.db"


def _give(database: Path, root: Path) -> None:
    (root / "mlflow").mkdir()
    (root / "mlflow" / "mlflow.db").write_bytes(database.read_bytes())


@pytest.fixture(scope="session")
def ran(repository: Path, tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Ran]:
    home = tmp_path_factory.mktemp("line")
    workspace = toy_workspace(home)
    _give(empty_database, workspace.root)
    with dg.DagsterInstance.ephemeral() as instance:
        line = Line(home, repository / "params.yaml", instance)
        file_requests(workspace, request_body())
        first = line.run("b1")
        other = [{"class": "circle", "approved_by": "privacy-officer"}]
        file_requests(workspace, request_body(request_id=request_id(2), selectors=other))
        yield Ran(line, first, line.run("b2"))


@pytest.fixture
def line(repository: Path, tmp_path: Path, empty_database: Path) -> Iterator[Line]:
    """A fresh root with one pending request."""
    workspace = toy_workspace(tmp_path)
    _give(empty_database, workspace.root)
    file_requests(workspace, request_body())
    with dg.DagsterInstance.ephemeral() as instance:
        yield Line(tmp_path, repository / "params.yaml", instance)
