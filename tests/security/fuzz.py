"""Fuzzing of every parser: `python -m tests.security.fuzz --inputs 10000000 --resume FILE`.

Inputs come in blocks of 1,000; the number of a block and the name of its parser are its seed, so a block can be made
again anywhere. Counts of blocks that were never tried before are added to FILE. One process reads what another one
gives it: a parser that takes the process down is a finding, not the end of the campaign.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.security import fuzz_evidence, fuzz_inbound, fuzz_stored
from tests.security.fuzz_door import Door
from unlearning import files
from unlearning.errors import UnlearningError

DOORS = {door.name: door for room in (fuzz_inbound, fuzz_stored, fuzz_evidence) for door in room.DOORS}
BLOCK = 1_000  # inputs
AGAIN = 4  # of the inputs that are accepted, each so many-th is spelled and read again
LONGEST_S = 1.0  # of processor time for one input
MOST_MEMORY = 200 * 2**20  # bytes that one block may add to what the process ever held
RESULTS = Path(__file__).parent / "results" / "fuzz.json"
_KEPT = 20  # findings in a table


@dataclass
class Counts:
    """What became of the inputs of one parser."""

    tried: int = 0
    typed: int = 0  # the typed error, in a sentence
    accepted: int = 0  # and what was kept of it is read to the same again, where that was tried
    crashed: int = 0  # anything else
    seconds: float = 0.0  # of processor time, making the inputs included
    findings: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Both together."""
        for name in ("tried", "typed", "accepted", "crashed", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.findings = [*self.findings, *other.findings][:_KEPT]

    def found(self, what: str) -> None:
        """One input that ended otherwise than it may."""
        self.crashed += 1
        self.findings = [*self.findings, what][:_KEPT]

    @property
    def inputs_per_s(self) -> int:
        """Of one core."""
        return round(self.tried / self.seconds) if self.seconds else 0


def inputs(door: Door, block: int) -> Iterator[Any]:
    """The inputs of a block: the same each time."""
    rng = Random(f"{door.name}/{block}")
    for _ in range(BLOCK):
        yield door.make(rng)


def block(door: Door, number: int) -> Counts:
    """Hand in every input of a block."""
    counts, held, began = Counts(), _held(), time.process_time()
    for place, given in enumerate(inputs(door, number)):
        before = time.process_time()
        counts.tried += 1
        problem = ended(door, given, counts)
        took = time.process_time() - before
        if problem is None and took > LONGEST_S:
            problem = f"took {took:.1f} s"
        if problem is not None:
            counts.found(f"block {number}, input {place}: {problem}")
    counts.seconds = time.process_time() - began
    if _held() - held > MOST_MEMORY:
        counts.found(f"block {number}: {(_held() - held) // 2**20} MiB")
    return counts


def ended(door: Door, given: Any, counts: Counts) -> str | None:
    """How one input ended, if not as it may."""
    try:
        kept = door.read(given)
    except UnlearningError as error:
        counts.typed += 1
        said = str(error)
        return None if said.isprintable() and 0 < len(said) < 2_000 else f"no sentence: {said[:200]!r}"
    except BaseException as error:  # whatever it is, it is no typed refusal
        return f"{type(error).__name__}: {error}"[:200]
    if kept is None:
        counts.typed += 1
        return None
    problem = None if counts.tried % AGAIN else _other_again(door, kept)
    counts.accepted += problem is None
    return problem


def _other_again(door: Door, kept: bytes) -> str | None:
    """What is wrong with what was kept, spelled as an input and read again."""
    try:
        same = door.read(door.again(kept)) == kept
    except BaseException as error:
        return f"read again: {type(error).__name__}: {error}"[:200]
    return None if same else "what was kept is read to something else"


def run(name: str, first: int, count: int) -> Counts:
    """Some blocks of a parser, in this process."""
    total = Counts()
    for number in range(first, first + count):
        total.add(block(DOORS[name], number))
    return total


def _held() -> int:
    """Bytes, at most ever."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rows(inputs: int = 20_000) -> list[dict[str, Any]]:
    """A row a parser; `over_time`: how many inputs it has had in the campaign whose counts add up."""
    table = files.read_json(RESULTS) if RESULTS.is_file() else {}
    return [_row(name, run(name, 0, -(-inputs // BLOCK)), table.get(name, {}).get("tried", 0)) for name in DOORS]


def _row(name: str, counts: Counts, over_time: int) -> dict[str, Any]:
    said = {key: value for key, value in asdict(counts).items() if key not in ("seconds", "findings")}
    said |= {"inputs_per_s": counts.inputs_per_s, "over_time": over_time}
    return {"row": f"fuzz, {name}", **said, "other": counts.crashed, "odd": counts.findings}


def _apart(name: str, first: int, count: int) -> Counts:
    """`run`, in a process of its own: one that dies is a finding."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=lambda: there.send(run(name, first, count)))
    process.start()
    there.close()
    try:
        counts: Counts = here.recv()
    except EOFError:
        counts = Counts(tried=count * BLOCK, crashed=1)
    process.join()
    if process.exitcode != 0:
        counts.findings.append(f"blocks {first} to {first + count - 1}: the process ended with {process.exitcode}")
    return counts


def over_time(path: Path, wanted: int, within_s: float, only: Sequence[str] = (), share: int = 20) -> dict[str, Any]:
    """Go on until every parser has had `wanted` inputs, or the time is up; the parser that had least has its turn.

    only   names of parsers; all of them without one
    share  blocks of one turn. The file is written after each: whoever stops this loses one turn.
    """
    table: dict[str, Any] = files.read_json(path) if path.is_file() else {}
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        behind = {name: table.get(name, {}).get("tried", 0) for name in only or DOORS}
        name = min(behind, key=lambda one: behind[one])
        if behind[name] >= wanted:
            break
        before = table.get(name, {})
        counts = Counts(**{key: before[key] for key in asdict(Counts()) if key in before})
        counts.add(_apart(name, counts.tried // BLOCK, share))
        table[name] = {**asdict(counts), "seconds": round(counts.seconds, 3), "inputs_per_s": counts.inputs_per_s}
        files.write_json(path, table)
    return table


def main() -> int:
    """Exit code 1 if anything ended otherwise than it may."""
    parser = argparse.ArgumentParser(prog="tests.security.fuzz", description=__doc__)
    parser.add_argument("--only", action="append", choices=DOORS, help="this parser (again and again; else all)")
    parser.add_argument("--inputs", type=int, default=10_000_000, help="of each parser, over time (%(default)s)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--resume", type=Path, default=RESULTS, metavar="FILE", help="the counts so far (%(default)s)")
    options = parser.parse_args()
    table = over_time(options.resume, options.inputs, 60 * options.minutes, options.only or ())
    for name, row in table.items():
        sys.stdout.write(f"{name:<24} {row['tried']:>10} tried, {row['crashed']} crashed, {row['inputs_per_s']}/s\n")
    return int(any(row["crashed"] for row in table.values()))


if __name__ == "__main__":
    sys.exit(main())
