"""A batch over the toy pictures, whose generator is of shards: two of two slices, by subject."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests import toy_batch, toys
from unlearning.evidence.lineage import Record
from unlearning.log import Log, silent
from unlearning.params import Params
from unlearning.verbs import plan, train, unlearn
from unlearning.workspace import BatchFolder

# `generator.seed` says where the forgotten person's four pictures lie: slice of a shard, and whether alone in it.
FIRST_SLICE, LAST_SLICE, ALONE_IN_THE_FIRST = 0, 1, 8
STEPS = 7  # of a member; the second slice is read from step 3 on
OF = {"kind": "mae", **toys.SMALL_MAE}


def params(repository: Path, seed: int = LAST_SLICE, **overrides: Any) -> Params:
    """Small, with a line of log a step and a resumable state every second."""
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    chosen: dict[str, Any] = {
        "generator": {"kind": "sharded", "of": OF, "shards": 2, "slices": 2, "seed": seed},
        "original": {"steps": STEPS, "batch_size": 4, "learning_rate": 3e-3, "save_every": 2, "log_every": 1},
        "unlearn.method": {"kind": "sisa"},
    }
    return toy_batch.toy_params(repository, **{**chosen, **dotted})


def made(params: Params, batch: BatchFolder, roles: Sequence[str] = ("original", "reference", "unlearned")) -> Any:
    """The records of the checkpoints, one verb after the other."""
    return {role: checkpoint_of(params, batch, role) for role in roles}


def checkpoint_of(params: Params, batch: BatchFolder, role: str, log: Log = silent) -> Record:
    """One of the three."""
    if role != "unlearned":
        return train.run(params, batch, log, role)
    plan.run(params, batch, silent)
    return unlearn.run(params, batch, log)
