"""The training trace as a run writes it: one row a step, kept with the resumable state, so that both are of one step.

Every process notes what it read and lost; rank 0 is told of the others' only where a state is saved, so that no step
waits for one. What the rows mean, and their chain: unlearning/trace_rows.py.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearning import trace_rows
from unlearning.trace_rows import SCHEMA, Part, Row, SetName
from unlearning.training.gradients import Losses
from unlearning.training.parallel import World
from unlearning.training.run import Run
from unlearning.training.savepoint import Savepoints
from unlearning.training.schedule import learning_rate
from unlearning.training.step import Step
from unlearning.types import Drawn, Sample

MODEL = "model"  # the part that every checkpoint has which is trained as a whole
_ROWS = "trace/rows"


@dataclass(frozen=True, slots=True)
class _Noted:
    """What one process says of one step."""

    forget: bytes  # int64: row * 2 + mirrored
    retain: bytes
    loss: float


class Recorder:
    """`take` after every step, `settle` before every state. Silent for a run that says nothing of its images."""

    def __init__(self, run: Run, step: Step, world: World) -> None:
        self._run, self._world, self._seen = run, world, run.seen
        self._noted = list[tuple[int, float, _Noted]]()  # (step done, gradient norm, …) since the last state
        self._rows = bytearray()  # rank 0
        self._tokens: dict[SetName, list[bytes]] = {"forget": [], "retain": []}
        self._key_id, self._begun_with = "", ""
        if self._seen is not None and world.leads:
            self._begun_with = step.weights_sha256()
            key = trace_rows.run_key((self._seen.forget, self._seen.retain))
            self._key_id = trace_rows.key_id(key)
            self._tokens["forget"] = trace_rows.tokens(key, self._seen.forget)
            self._tokens["retain"] = trace_rows.tokens(key, self._seen.retain)

    def keeps(self, done: int) -> bool:
        """Whether the state after `done` steps is kept, to run on from; the last one is the checkpoint."""
        every = None if self._seen is None else self._seen.keep
        return every is not None and done % every == 0 and done < self._run.budget.steps

    def take(self, done: int, drawn: Drawn, losses: Losses, norm: float) -> None:
        """The step after which `done` are done: what this process read, and its loss."""
        if self._seen is not None:
            noted = _Noted(_places(drawn.forget), _places(drawn.retain), float(losses["loss"]))
            self._noted.append((done, norm, noted))

    def settle(self) -> None:
        """Every process: rank 0 writes the rows of the steps since the last time."""
        if self._seen is None:
            return
        ranks = self._world.gathered([noted for _, _, noted in self._noted])
        for place, (done, norm, _) in enumerate(self._noted):
            if ranks:
                self._rows += self._row(done, norm, [rank[place] for rank in ranks]).packed()
        self._noted.clear()

    def memory(self) -> dict[str, Tensor]:
        """The rows so far, [N, 96] uint8."""
        return {} if self._seen is None else rows_tensor(self.rows)

    def remember(self, values: dict[str, Tensor]) -> None:
        """Put `memory()` back. A state from before there were traces leaves a run without one."""
        if _ROWS in values:
            self._rows = bytearray(values[_ROWS].numpy().tobytes())
        else:
            self._seen = None

    @property
    def rows(self) -> bytes:
        """Those that are settled, on rank 0."""
        return bytes(self._rows)

    def batches(self, drawn: Drawn) -> tuple[bytes, bytes]:
        """What a row says of what a step reads, by one process: (forget, retain)."""
        return self._batch("forget", _places(drawn.forget)), self._batch("retain", _places(drawn.retain))

    def made_of(self) -> dict[str, Any]:
        """What the run is a function of, on rank 0."""
        return {
            "schema": SCHEMA,
            "part": MODEL if self._seen is None else self._seen.part,
            "run": self._run.recipe,
            "budget": self._run.budget.model_dump(mode="json"),
            "weights_sha256": self._begun_with,
            "sets": {name: trace_rows.of_set(tokens) for name, tokens in self._tokens.items()},
            "key_id": self._key_id,
        }

    def parts(self, savepoints: Savepoints) -> tuple[Part, ...]:
        """What is to be written, on rank 0: one part, or none where nothing is known of the images."""
        if self._seen is None or not self._rows:
            return ()
        states = {done: savepoints.kept(done) for done in range(1, self._run.budget.steps) if self.keeps(done)}
        there = {done: path for done, path in states.items() if path.is_file()}
        return (Part(self._seen.part, self.made_of(), self.rows, there),)

    def _row(self, done: int, norm: float, ranks: Sequence[_Noted]) -> Row:
        forget = self._batch("forget", b"".join(rank.forget for rank in ranks))
        retain = self._batch("retain", b"".join(rank.retain for rank in ranks))
        loss = sum(rank.loss for rank in ranks) / len(ranks)
        return Row(done, forget, retain, loss, learning_rate(self._run.budget, done - 1), norm)

    def _batch(self, name: SetName, places: bytes) -> bytes:
        tokens, flags = self._tokens[name], (b"\0", b"\1")
        here = np.frombuffer(places, dtype=np.int64).tolist()
        return trace_rows.of_batch(name, [tokens[place >> 1] + flags[place & 1] for place in here])


def rows_tensor(rows: bytes) -> dict[str, Tensor]:
    """Rows as a state keeps them."""
    values = np.frombuffer(rows, dtype=np.uint8).reshape(-1, trace_rows.BYTES)
    return {_ROWS: torch.from_numpy(values.copy())}


def machine(world: World) -> dict[str, Any]:
    """What bits may depend on beside the run: device, libraries, processes."""
    cuda = world.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(world.device) if cuda else "cpu",
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        # On the CPU every kernel used here is; a GPU is where it was told to be.
        "deterministic": not cuda or torch.are_deterministic_algorithms_enabled(),
        "processes": world.size,
    }


def _places(sample: Sample) -> bytes:
    """Of each image its row, and whether it was mirrored."""
    rows = sample.rows.numpy().astype(np.int64) * 2
    return (rows if sample.mirrored is None else rows + sample.mirrored.numpy()).tobytes()
