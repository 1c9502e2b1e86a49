"""The two images hold what their locks say: Dagster's waits without torch, the trainer computes without Dagster."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

# Blocks whatever the image would not have; then the code location, every door of the image, and a batch run through.
ONLY = """
import sys
from importlib import metadata

has = set({has!r})
tops = metadata.packages_distributions()

class Absent:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        makers = {{one.lower().replace("_", "-") for one in tops.get(top, [])}}
        if makers and not makers & has:
            raise ModuleNotFoundError(f"the image has no {{top}}", name=top)

sys.meta_path.insert(0, Absent())
"""

DAGSTER = """
import pathlib, tempfile
import dagster as dg
from pipelines.definitions import defs
assert len(list(defs().assets)) > 8
import pipelines.dev, pipelines.demo, pipelines.intake_api, pipelines.intake.app, unlearning.__main__
import pipelines.resources.pods, pipelines.resources.rayjobs, dagster_postgres, psycopg2, mlflow
from pipelines.resources.mlflow import MlflowTracking
from tests.pipelines.line import Line, errors
from tests.toy_batch import file_requests, request_body, toy_workspace
home = pathlib.Path(tempfile.mkdtemp())
file_requests(toy_workspace(home), request_body())
with dg.DagsterInstance.ephemeral() as instance:
    line = Line(home, pathlib.Path("params.yaml").resolve(), instance)
    silent = MlflowTracking(uri="http://127.0.0.1:9", timeout_s=0.1)
    result = line.run("b1", mlflow=silent)
    assert result.success, errors(result)
    assert line.batch("b1").asset("certificate").is_dir()
try:
    import torch
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("nothing was held back")
"""


def _pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def locks(repository: Path) -> dict[str, dict[str, str]]:
    folder = repository / "infra" / "requirements"
    return {name: _pins(folder / f"{name}.txt") for name in ("all", "core", "dagster", "trainer")}


def test_a_batch_runs_through_with_what_dagsters_image_has(repository: Path, locks: dict[str, dict[str, str]]) -> None:
    # `tests` is no part of the image; neither is pytest, which only its fixtures need.
    script = ONLY.format(has=sorted({*locks["dagster"], "pytest", "pluggy", "iniconfig", "unlearning"})) + DAGSTER
    words = [sys.executable, "-W", "ignore", "-c", script]
    env = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(words, cwd=repository, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]


def test_the_locks_agree(locks: dict[str, dict[str, str]]) -> None:
    for name in ("dagster", "trainer"):
        assert locks[name].items() <= locks["all"].items(), name
        assert len(locks[name]) > 30


def test_dagsters_image_has_nothing_that_computes(locks: dict[str, dict[str, str]]) -> None:
    assert {
        "dagster",
        "dagster-webserver",
        "dagster-postgres",
        "dagster-k8s",
        "mlflow",
        "psycopg2-binary",
        "uvicorn",
    } <= (locks["dagster"].keys())
    heavy = {name for name in locks["dagster"] if name.startswith(("torch", "nvidia", "triton", "timm", "diffusers"))}
    assert heavy == set()


def test_the_trainers_image_has_the_core_and_dagster_pipes_alone(locks: dict[str, dict[str, str]]) -> None:
    beyond = locks["trainer"].keys() - locks["core"].keys()
    assert beyond == {"dagster-pipes"}
    assert {"torch", "safetensors"} <= locks["trainer"].keys()
