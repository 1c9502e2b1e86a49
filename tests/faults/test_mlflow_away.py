"""MLflow dead, mute, failing or dying in the middle of a run: the run ends with the bytes that it ends with anyway."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest

from pipelines.resources.mlflow import MlflowTracking
from tests.faults.registry import Campaign, Fault
from tests.pipelines.line import Line, errors
from tests.toy_batch import file_requests, request_body, toy_workspace
from unlearning import digests

AWAY = Fault(
    "mlflow",
    "MLflow is dead, mute, answers 500, or dies during the run",
    "a whole line in Dagster, ingest to promotion",
    "the run ends with the same bytes; what MLflow did not take waits in the outbox",
    "files are the truth and MLflow a picture of them; one bounded call, then it is not asked again",
)
SAME = ("forget_manifest", "retain_proxy_set", "original_checkpoint", "reference_checkpoint", "unlearned_checkpoint")


@contextmanager
def _server(kind: str) -> Iterator[str]:
    """Its address. `mute` accepts and says nothing; `failing` says 500; `dying` says 500 twice, then is gone."""
    heard, over = [0], threading.Event()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard[0] += 1
            if kind == "mute":
                over.wait(30)
            self.send_error(500)
            if kind == "dying" and heard[0] == 2:
                threading.Thread(target=server.shutdown, daemon=True).start()

        do_POST = do_GET

        def log_message(self, format: str, *words: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    if kind == "dead":
        server.shutdown()
        server.server_close()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def undisturbed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Line]]:
    """The root after the batch was sealed, and the line that ran from there with an MLflow of its own."""
    home = tmp_path_factory.mktemp("undisturbed")
    file_requests(toy_workspace(home), request_body())
    with dg.DagsterInstance.ephemeral() as instance:
        line = Line(home, repository / "params.yaml", instance)
        assert line.run("b1", only=["deletion_requests"]).success
        start = home / "start"
        shutil.copytree(line.workspace.root, start, ignore=shutil.ignore_patterns("mlflow"))
        result = line.run("b1")
        assert result.success, errors(result)
        yield start, line


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dead", "dying", "failing", "mute"])
def test_the_run_ends_as_ever(
    campaign: Campaign, undisturbed: tuple[Path, Line], repository: Path, tmp_path: Path, kind: str
) -> None:
    start, ran = undisturbed
    shutil.copytree(start, tmp_path / "var")
    with campaign.trial(AWAY), _server(kind) as uri, dg.DagsterInstance.ephemeral() as instance:
        line = Line(tmp_path, repository / "params.yaml", instance)
        result = line.run("b1", mlflow=MlflowTracking(uri=uri, timeout_s=1.0))
        assert result.success, errors(result)
        for name in SAME:
            assert digests.of_folder(line.batch("b1").asset(name)) == digests.of_folder(ran.batch("b1").asset(name))
        waiting = {path.stem for path in (tmp_path / "var" / "mlflow" / "outbox").glob("*.jsonl")}
        assert {f"b1.{name}" for name in SAME} <= waiting
