"""Processes for the tests beside it: `python -m tests.training.worker ranks|killed|verb FOLDER …`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from tests import toys
from unlearning.log import Progress, silent
from unlearning.merges.clipped_forget import ClippedForget
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.params import Params
from unlearning.scopes.all import All
from unlearning.training import checkpoint, parallel
from unlearning.training.loop import train
from unlearning.training.parallel import World
from unlearning.training.run import Run
from unlearning.verbs import train as train_verb
from unlearning.workspace import Workspace

RUNS: dict[str, Callable[[World], Run]] = {
    "joint": lambda world: toys.run(world),
    "apart": lambda world: toys.run(world, merge=ClippedForget(ratio=0.5)),
    "from_scratch": lambda world: toys.run(world, method=NaiveDeletion(), scope=All()),
    # The decoder is in scope, and no term ever reaches it.
    "unreached": lambda world: toys.run(world, scope=All()),
    "unreached_apart": lambda world: toys.run(world, scope=All(), merge=ClippedForget()),
}


def ranks(folder: Path) -> None:
    """Every run above, in the process group of the environment; what a rank ends with goes to FOLDER/<run>-<rank>."""
    torch.set_num_threads(1)
    with parallel.world() as world:
        for name, make in RUNS.items():
            run = make(world)
            train(run, world, folder / f"{name}-work-{world.rank}", silent)
            checkpoint.write_tensors(folder / f"{name}-{world.rank}", checkpoint.tensors(run.student))


def killed(folder: Path, *steps: str) -> None:
    """Start the same run again and again, and kill -9 it when it says that it has come to each of `steps`."""
    for step in map(int, steps):
        read, write = os.pipe()
        child = os.fork()  # one import of torch for all; nothing has been computed yet, so there are no threads
        if child == 0:
            _say_steps(folder, write)
        os.close(write)
        with os.fdopen(read, "rb", buffering=0) as said:
            while (line := said.read(1)) and line[0] < step:
                pass
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _say_steps(folder: Path, pipe: int) -> None:
    torch.set_num_threads(1)
    train(long_run(), toys.ALONE, folder, lambda line: _say(pipe, line))
    os._exit(0)


def _say(pipe: int, line: Progress) -> None:
    if not line.note:
        os.write(pipe, bytes([line.step]))


def verb(root: Path, params: str) -> None:
    """`train original` in the process group of the environment; each rank leaves the sha256 it got beside the root."""
    torch.set_num_threads(1)
    chosen = Params.model_validate_json(Path(params).read_bytes())
    record = train_verb.run(chosen, Workspace(root).batch("b1"), silent, "original")
    said = root.parent / f"rank-{os.environ['RANK']}"
    said.write_text(record.sha256)


def long_run() -> Run:
    """The run that is killed: a line a step, a state every second."""
    return toys.run(steps=60, budget={"log_every": 1, "save_every": 2})


if __name__ == "__main__":
    {"ranks": ranks, "killed": killed, "verb": verb}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
