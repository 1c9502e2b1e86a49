"""A study that is killed loses only the points it had not finished, and leaves no child behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.studies.small import written
from unlearning import files


def _start(plans: Path, home: Path, repository: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    words = ["study", str(plans), "--root", str(home / "var"), "--workers", "2"]
    command = [sys.executable, "-m", "unlearning", *words]
    return subprocess.Popen(command, cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _children(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in listed]


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc who is whose child")
def test_a_killed_study_goes_on_where_it_was(tmp_path: Path, repository: Path) -> None:
    methods = {
        "noise_target": {"vary": {"unlearn.merge.forget_weight": [0.1, 0.5, 2]}},
        "diverges": {"set": {"unlearn.budget.learning_rate": 1e30}},
    }
    plans = written(tmp_path, repository, methods=methods)
    batches = tmp_path / "var" / "studies" / "small" / "batches"
    first, deadline = _start(plans.file, tmp_path, repository), time.monotonic() + 300
    try:
        while not list(batches.glob("*/point.json")):
            assert time.monotonic() < deadline
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"the study ended with {first.wait(0.2)} before its first point")
        children = _children(first.pid)
        made = {path: path.stat().st_mtime_ns for path in batches.glob("*/point.json")}
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    while any(_alive(child) for child in children):  # the kernel ends them with their parent
        assert time.monotonic() < deadline

    again = _start(plans.file, tmp_path, repository)
    said, _ = again.communicate(timeout=300)
    assert again.returncode == 1  # one point cannot be made, and that is said
    for path, when in made.items():
        if files.read_json(path)["status"] == "finished":
            assert path.stat().st_mtime_ns == when
    summary = files.read_json(tmp_path / "var" / "studies" / "small" / "study.json")
    assert summary["counts"] == {"points": 4, "finished": 3, "failed": 1, "unfinished": 0}
    assert "gradient norm is nan" in said
