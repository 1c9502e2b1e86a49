"""Real processes: two that train as one, and one that is killed again and again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import toys
from tests.training import worker
from unlearning.log import silent
from unlearning.training.loop import train

RANKS = 2
KILLED_AT = ("1", "4", "9", "9", "17", "30", "31", "44", "58", "60")


def _environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}


def _worker(repository: Path, environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.training.worker", *words]
    return subprocess.Popen(
        command, cwd=repository, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _ended(process: subprocess.Popen[str]) -> None:
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said


@pytest.fixture(scope="module")
def together(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two gloo processes, as torchrun starts them, leave behind."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {"WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    places = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(RANKS)]
    started = [_worker(repository, _environment(**group, **place), "ranks", str(folder)) for place in places]
    for process in started:
        _ended(process)
    return folder


@pytest.mark.parametrize("name", worker.RUNS)
def test_two_processes_equal_one_with_the_doubled_batch(name: str, together: Path, tmp_path: Path) -> None:
    alone = worker.RUNS[name](toys.ALONE)
    begun = {key: value.clone() for key, value in alone.student.state_dict().items()}
    train(alone, toys.ALONE, tmp_path, silent)
    first, second = (load_file(together / f"{name}-{rank}") for rank in range(RANKS))
    for key, value in alone.student.state_dict().items():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(_settled(key, first[key]), _settled(key, value), rtol=1e-3, atol=2e-4)
    moved = [key for key, value in begun.items() if not torch.equal(first[key], value)]
    assert any((first[key] - begun[key]).abs().max() > 1e-2 for key in moved)
    if name.startswith("unreached"):
        assert not [key for key in moved if key.startswith(("decoder", "mask_token"))]


def _settled(key: str, value: torch.Tensor) -> torch.Tensor:
    """Attention does not depend on the bias of its keys: that gradient is rounding noise, which Adam blows up."""
    if key.endswith("qkv.bias"):
        return torch.cat([value[: len(value) // 3], value[-len(value) // 3 :]])
    return value


@pytest.mark.parametrize("name", worker.RUNS)
def test_only_rank_0_writes(name: str, together: Path) -> None:
    assert (together / f"{name}-work-0" / "log.jsonl").exists()
    assert not (together / f"{name}-work-1").exists()


def test_killed_at_any_moment_and_started_again_it_ends_bit_identical(repository: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _ended(_worker(repository, _environment(), "killed", str(tmp_path / "killed"), *KILLED_AT))
        last, whole = worker.long_run(), worker.long_run()
        trained = train(last, toys.ALONE, tmp_path / "killed", silent)
        train(whole, toys.ALONE, tmp_path / "whole", silent)
    finally:
        torch.set_num_threads(threads)
    assert trained.resumed_from > 0
    for key, value in whole.student.state_dict().items():
        assert torch.equal(last.student.state_dict()[key], value)
    assert (tmp_path / "killed" / "log.jsonl").read_bytes() == (tmp_path / "whole" / "log.jsonl").read_bytes()
    assert not list((tmp_path / "killed").glob("*.safetensors"))[2:]
