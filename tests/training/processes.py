"""Start tests/training/worker.py in processes of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

RANKS = 2


def alone(repository: Path, *words: str) -> None:
    """One process."""
    _ended(_started(repository, {}, *words))


def group(repository: Path, *words: str) -> None:
    """RANKS processes with the environment that torchrun gives."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    places = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(RANKS)]
    started = [_started(repository, {**shared, **place}, *words) for place in places]
    for process in started:
        _ended(process)


def _started(repository: Path, more: dict[str, str], *words: str) -> subprocess.Popen[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.worker", *words],
        cwd=repository,
        env={**kept, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _ended(process: subprocess.Popen[str]) -> None:
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
