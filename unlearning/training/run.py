"""What a run is: everything it is a function of, and how it went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from unlearning.contracts import Corruption, Generator, Merge, Method, Prepared, Scope
from unlearning.params import Budget
from unlearning.trace_rows import Part
from unlearning.training.stopping import Stopping
from unlearning.types import Drawn


@dataclass(frozen=True, slots=True)
class Seen:
    """What the training trace says of a run's images: sha256 of each image's stored bytes (hex), by row of its set."""

    forget: Sequence[str]
    retain: Sequence[str]
    part: str = "model"  # of the checkpoint that is made
    keep: int | None = None  # steps between states that are kept beside the weights, to run on from; None = none


@dataclass(frozen=True, slots=True)
class Run:
    """One training run: who learns, from what, how, and for how long."""

    stage: str
    student: Generator
    original: Generator | None  # None where the method never looks at it
    method: Method
    merge: Merge
    scope: Scope
    corruption: Corruption
    batches: Callable[[int], Drawn]
    budget: Budget
    recipe: dict[str, Any]  # its identity, JSON: resumable state of another one is refused
    prepared_method: Prepared = field(default_factory=dict)
    prepared_scope: Prepared = field(default_factory=dict)
    holes_by_row: bool = False  # an image loses the same pixels whenever it comes
    stopping: Stopping | None = None  # None: the budget is spent, whatever happens
    edges: frozenset[int] = frozenset()  # steps after which the state is kept beside the newest, for good
    seen: Seen | None = None  # None: no training trace is written


@dataclass(frozen=True, slots=True)
class Trained:
    """How it went. `last` are the numbers of the last step logged, on rank 0."""

    steps: int
    resumed_from: int
    seconds: float
    last: dict[str, float]
    snapshots: dict[str, Tensor] = field(default_factory=dict)  # on rank 0, of a budget that asks for them
    stopped: dict[str, Any] = field(default_factory=dict)  # where and why, of a run that may stop early
    traces: tuple[Part, ...] = ()  # on rank 0, in the order in which they were made
