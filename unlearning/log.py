"""How a verb says what it is doing. No verb prints: it is given a `Log`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tqdm import tqdm

from unlearning.errors import printable


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of a verb's log: `step` of `of` in `stage`, with the numbers measured there."""

    stage: str
    step: int
    of: int
    numbers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


Log: TypeAlias = Callable[[Progress], None]


def silent(line: Progress) -> None:
    """A log that says nothing."""


def say(value: Any) -> None:
    """What a command line answers: one line of JSON on standard output."""
    sys.stdout.write(spelled(value) + "\n")
    sys.stdout.flush()


def spelled(value: Any) -> str:
    """JSON that any terminal shows as it is: what a class or a key may hold, escape codes say, is escaped."""
    plain = json.dumps(value, ensure_ascii=False)
    if plain.isprintable():
        return plain
    # Nothing but a string of JSON holds such a letter, so that its escape stands for it.
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in plain)


class Bars:
    """A log for a terminal: one progress bar a stage, on standard error; plain lines where there is no terminal."""

    def __init__(self) -> None:
        self._bars: dict[str, Any] = {}

    def __call__(self, line: Progress) -> None:
        """Draw it."""
        if line.note:
            tqdm.write(printable(f"{line.stage}: {line.note}"), file=sys.stderr)
        if line.of <= 0:
            return
        if line.stage not in self._bars:
            self._bars[line.stage] = tqdm(total=line.of, desc=line.stage, mininterval=1.0, file=sys.stderr)
        bar = self._bars[line.stage]
        bar.update(line.step - bar.n)
        if line.numbers:
            bar.set_postfix({name: f"{value:.4g}" for name, value in line.numbers.items()}, refresh=False)
        if line.step >= line.of:
            self._bars.pop(line.stage).close()
