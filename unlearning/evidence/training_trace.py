"""The training trace beside the weights that a training made: written, read, and checked without torch.

    <checkpoint>/trace.json   trace.rows   trace/<part>/state-<k>.safetensors (where states are kept)

A row a step, chained by hash; a part begins with the root of the part before it, so the last root stands for all
(unlearning/trace_rows.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearning import digests, files, trace_rows
from unlearning.errors import EvidenceError, StorageError
from unlearning.trace_rows import SCHEMA, Part, Row

RECORD, ROWS = "trace.json", "trace.rows"

_MARKS = 64  # at most, a part
_HEX = r"^[0-9a-f]{64}$"


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Mark(_Told):
    """h after so many steps."""

    step: int = Field(ge=0)
    h: str = Field(pattern=_HEX)


class State(_Told):
    """A kept state: where it lies is a function of part and step."""

    step: int = Field(gt=0)
    sha256: str = Field(pattern=_HEX)


class PartTold(_Told):
    """What trace.json says of a part."""

    part: str = Field(pattern=r"^[a-z0-9_-]{1,32}$")
    first: int = Field(ge=0, description="steps done before its first row")
    steps: int = Field(gt=0, description="rows")
    start: dict[str, Any]
    root: str = Field(pattern=_HEX)
    marks: list[Mark]
    states: list[State]


class Told(_Told):
    """The whole of trace.json."""

    schema_: Literal["training-trace/1"] = Field(alias="schema")
    steps: int
    root: str = Field(pattern=_HEX)
    every: int = Field(gt=0, description="steps between two marks")
    weights_sha256: str = Field(pattern=_HEX)
    processes: int = Field(gt=0)
    device: str
    torch: str
    python: str
    deterministic: bool
    parts: list[PartTold] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace as it lies in a checkpoint's folder: `rows[i]` are those of `told.parts[i]`."""

    told: Told
    rows: tuple[tuple[Row, ...], ...]


def state_path(folder: Path, part: str, step: int) -> Path:
    """Where a kept state lies in a checkpoint's folder."""
    return folder / "trace" / part / f"state-{step:08d}.safetensors"


def write(folder: Path, parts: Sequence[Part], machine: Mapping[str, Any], weights_sha256: str) -> None:
    """trace.json, trace.rows and the states that are kept. Every part begins with the root of the one before it."""
    every = max(1, math.ceil(max(len(part.rows) for part in parts) / trace_rows.BYTES / _MARKS))
    told, root = list[dict[str, Any]](), None
    for part in parts:
        told.append(_told(folder, part, root, every))
        root = told[-1]["root"]
    whole = {"schema": SCHEMA, "steps": sum(one["steps"] for one in told), "root": root, "every": every}
    files.write_bytes(folder / ROWS, b"".join(part.rows for part in parts))
    files.write_json(folder / RECORD, {**whole, **machine, "weights_sha256": weights_sha256, "parts": told})


def _told(folder: Path, part: Part, root_before: str | None, every: int) -> dict[str, Any]:
    rows = trace_rows.split(part.rows)
    first = Row.parsed(rows[0]).step - 1
    start = {**part.start, "first": first, "after": root_before}
    hs = [h.hex() for h in trace_rows.chain(start, rows)]
    states = []
    for step, path in sorted(part.states.items()):
        kept = state_path(folder, part.name, step)
        kept.parent.mkdir(parents=True, exist_ok=True)
        files.link_or_copy(path, kept)
        states.append({"step": step, "sha256": digests.of_file(kept)})
    marks = [{"step": first + k, "h": h} for k, h in enumerate(hs) if k % every == 0]
    steps = {"first": first, "steps": len(rows)}
    return {"part": part.name, **steps, "start": start, "root": hs[-1], "marks": marks, "states": states}


def read(folder: Path) -> Trace | None:
    """The trace of a checkpoint; None of one that has none. Raises EvidenceError if it is not one."""
    path = folder / RECORD
    if not path.exists() and not (folder / ROWS).exists():
        return None
    try:
        told = Told.model_validate(files.read_json(path))
        rows = trace_rows.split((folder / ROWS).read_bytes())
    except (StorageError, OSError) as error:
        raise EvidenceError(f"{folder}: half a training trace ({error})") from None
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(str(place) for place in wrong["loc"])
        raise EvidenceError(f"{path}: not a {SCHEMA}: {where}: {wrong['msg']}") from None
    counted = sum(part.steps for part in told.parts)
    if len(rows) != counted or (rows and len(rows[-1]) != trace_rows.BYTES):
        raise EvidenceError(
            f"{folder / ROWS}: {len(rows)} rows, and trace.json tells of {counted} of {trace_rows.BYTES} bytes; "
            f"restore both"
        )
    parsed, found, done = [Row.parsed(row) for row in rows], list[tuple[Row, ...]](), 0
    for part in told.parts:
        found.append(tuple(parsed[done : done + part.steps]))
        done += part.steps
    return Trace(told, tuple(found))


def problems(trace: Trace, folder: Path) -> list[str]:
    """What does not hold of a trace by itself and beside its weights, a sentence each; states that are gone are not."""
    said, before = list[str](), None
    for part, rows in zip(trace.told.parts, trace.rows, strict=True):
        said += [f"{RECORD} {part.part}: {problem}" for problem in _of_part(part, rows, before, trace.told.every)]
        for state in part.states:
            path = state_path(folder, part.part, state.step)
            if path.is_file() and digests.of_file(path) != state.sha256:
                said.append(f"{path.relative_to(folder)}: not the state that the trace names")
        before = part.root
    if (trace.told.steps, trace.told.root) != (sum(part.steps for part in trace.told.parts), before):
        said.append(f"{RECORD}: steps and root are not those of its parts")
    weights = folder / "model.safetensors"
    if weights.is_file() and digests.of_file(weights) != trace.told.weights_sha256:
        said.append(f"{RECORD}: is about other weights than model.safetensors")
    return said


def _of_part(part: PartTold, rows: Sequence[Row], before: str | None, every: int) -> Iterator[str]:
    if part.start.get("after") != before:
        yield "does not begin with the root of the part before it"
    if part.start.get("first") != part.first:
        yield f"begins after step {part.first}, and what it is a function of says {str(part.start.get('first'))[:20]}"
    wrong = next((row for k, row in enumerate(rows) if row.step != part.first + k + 1), None)
    if wrong is not None:
        yield f"step {wrong.step} stands where another one is right: steps are missing, or in another order"
    odd = next((row for row in rows if not all(map(math.isfinite, row[3:]))), None)
    if odd is not None:
        yield f"step {odd.step} has a number that is not finite, and a run ends there"
    yield from _of_chain(part, [h.hex() for h in trace_rows.chain(part.start, (row.packed() for row in rows))], every)


def _of_chain(part: PartTold, hs: Sequence[str], every: int) -> Iterator[str]:
    marked = {part.first + k: h for k, h in enumerate(hs) if k % every == 0}
    if [mark.step for mark in part.marks] != list(marked):
        yield f"its marks are not every {every} steps"
        return
    for last, mark in pairwise([None, *part.marks]):
        assert mark is not None
        if mark.h != marked[mark.step]:
            where = "at its start" if last is None else f"between step {last.step} and step {mark.step}"
            yield f"the chain breaks {where}: what it says was changed after it was written"
            return
    if part.root != hs[-1]:
        yield "the chain breaks after its last mark: what it says was changed after it was written"
