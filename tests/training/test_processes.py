"""Real processes: two that train as one, and one that is killed again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import toys
from tests.training import processes, worker
from unlearning.log import silent
from unlearning.training.loop import train

KILLED_AT = ("1", "4", "9", "9", "17", "30", "31", "44", "58", "60")


@pytest.fixture(scope="module")
def together(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two gloo processes leave behind."""
    folder = tmp_path_factory.mktemp("ranks")
    processes.group(repository, "ranks", str(folder))
    return folder


@pytest.mark.parametrize("name", worker.RUNS)
def test_two_processes_equal_one_with_the_doubled_batch(name: str, together: Path, tmp_path: Path) -> None:
    alone = worker.RUNS[name](toys.ALONE)
    begun = {key: value.clone() for key, value in alone.student.state_dict().items()}
    with _one_thread():
        train(alone, toys.ALONE, tmp_path, silent)
    first, second = (load_file(together / f"{name}-{rank}") for rank in range(processes.RANKS))
    for key, value in alone.student.state_dict().items():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(_settled(key, first[key]), _settled(key, value), rtol=1e-3, atol=2e-4)
    moved = [key for key, value in begun.items() if not torch.equal(first[key], value)]
    assert any((first[key] - begun[key]).abs().max() > 1e-2 for key in moved)
    if name.startswith("unreached"):
        assert not [key for key in moved if key.startswith(("decoder", "mask_token"))]


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in the processes compared with.

    The student begins as the original, so its first retain gradient is rounding noise, which a clipped forget gradient
    takes for a length and Adam for a direction: only the same rounding gives the same first step.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
    with _one_thread():
        processes.alone(repository, "killed", str(tmp_path / "killed"), *KILLED_AT)
        last, whole = worker.long_run(), worker.long_run()
        trained = train(last, toys.ALONE, tmp_path / "killed", silent)
        train(whole, toys.ALONE, tmp_path / "whole", silent)
    assert trained.resumed_from > 0
    for key, value in whole.student.state_dict().items():
        assert torch.equal(last.student.state_dict()[key], value)
    assert (tmp_path / "killed" / "log.jsonl").read_bytes() == (tmp_path / "whole" / "log.jsonl").read_bytes()
    assert not list((tmp_path / "killed").glob("*.safetensors"))[2:]
