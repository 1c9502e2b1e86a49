"""PostgreSQL for real: Dagster's tables by our own instance file, the ledger, and MLflow behind its own server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
import yaml
from dagster_postgres import PostgresEventLogStorage

from infra.validation import containers
from pipelines import home
from pipelines.resources.mlflow import MlflowTracking
from tests.pipelines.line import Line, ToyCompute, errors, materialized
from tests.postgres import Server
from tests.toy_batch import file_requests, request_body, toy_workspace
from unlearning.stages import STAGES


@pytest.fixture
def line(repository: Path, tmp_path: Path, postgres_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setenv("DAGSTER_HOME", "put back at the end")
    monkeypatch.setenv("UNLEARNING_POSTGRES_URL", postgres_server.new_database())
    monkeypatch.setenv("UNLEARNING_LEDGER_URL", postgres_server.new_database())
    workspace = toy_workspace(tmp_path)
    file_requests(workspace, request_body())
    with dg.DagsterInstance.from_config(str(home.prepare(workspace.root))) as instance:
        yield Line(tmp_path, repository / "params.yaml", instance)


def _rows(url: str, question: str) -> int:
    where = url.replace("postgresql+psycopg2://", "postgresql://")
    with closing(psycopg2.connect(where)) as connection, connection.cursor() as cursor:
        cursor.execute(question)
        [count] = cursor.fetchone()
        return int(count)


def test_a_batch_runs_through_on_postgresql(line: Line) -> None:
    assert isinstance(line.instance.event_log_storage, PostgresEventLogStorage)
    silent = MlflowTracking(uri="http://127.0.0.1:9", timeout_s=0.1)
    result = line.run("b1", mlflow=silent)
    assert result.success, errors(result)
    with dg.DagsterInstance.from_config(str(home.prepare(line.workspace.root))) as another:
        [run] = another.get_runs()
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert {str(key.path[-1]) for key in another.all_asset_keys()} >= {*STAGES, "model_promotion"}
    assert _rows(os.environ["UNLEARNING_LEDGER_URL"], "select count(*) from tasks where state = 'promoted'") == 1
    assert not list(line.workspace.root.rglob("ledger.sqlite"))


@pytest.fixture
def mlflow_server(postgres_server: Server, tmp_path: Path) -> Iterator[str]:
    """The command line of compose.yaml, on a free port, with another store and artifacts in a folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = yaml.safe_load(containers.COMPOSE.read_text())["services"]["mlflow"]["command"]
    ours = {
        "--host": "127.0.0.1",
        "--port": port,
        "--workers": 1,
        "--backend-store-uri": postgres_server.new_database(),
        "--artifacts-destination": tmp_path / "artifacts",
    }
    words = [f"{name}={ours[name]}" if (name := word.partition("=")[0]) in ours else word for word in given[1:]]
    log = (tmp_path / "mlflow.log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "mlflow", *words], stdout=log, stderr=log, cwd=tmp_path)
    try:
        address = f"http://127.0.0.1:{port}"
        _until_answers(address, process, tmp_path / "mlflow.log")
        yield address
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _until_answers(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=3).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        else:
            return


def _asks(address: str, host: str) -> int:
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/experiments/search?max_results=1", headers={"Host": host}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.slow
def test_mlflow_on_postgresql_is_told_by_a_run_and_hears_only_its_own_names(line: Line, mlflow_server: str) -> None:
    port = mlflow_server.rpartition(":")[2]
    answers = {host: _asks(mlflow_server, host) for host in (f"mlflow:{port}", f"127.0.0.1:{port}", "evil.example")}
    assert answers == {f"mlflow:{port}": 200, f"127.0.0.1:{port}": 200, "evil.example": 403}
    result = line.run("b1", mlflow=MlflowTracking(uri=mlflow_server, timeout_s=10.0), compute=ToyCompute())
    assert result.success, errors(result)
    assert materialized(result)["certificate"].metadata["mlflow"].value.startswith(mlflow_server)
