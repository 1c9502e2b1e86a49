"""Tables of Markdown, and where their numbers come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table; the first column is words, the others are numbers."""
    yield "| " + " | ".join(head) + " |"
    yield "| --- " + "| ---: " * (len(head) - 1) + "|"
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def interval(score: Mapping[str, Any] | None, places: int = 3) -> str:
    """`0.912 (0.900 to 0.924)`: a mean over seeds, its interval where there is one; empty where it is not known."""
    if score is None:
        return ""
    low, high = score["low"], score["high"]
    bounds = "" if low is None else f" ({low:.{places}f} to {high:.{places}f})"
    return f"{score['mean']:.{places}f}{bounds}"


def percent(rate: Mapping[str, Any] | None) -> str:
    """`2.70 (1.94 to 3.75)`: a rate and its interval, in %; empty where it is not known."""
    return "" if rate is None else f"{100 * rate['rate']:.2f} ({100 * rate['low']:.2f} to {100 * rate['high']:.2f})"


def origin(summary: Mapping[str, Any]) -> Iterator[str]:
    """How a summary was made: the command, the machines, the code and the time."""
    yield "## How it was made\n"
    yield f"    {summary['command']}\n"
    for machine in summary["machines"]:
        yield "- " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items() if value)
    dirty = " with uncommitted changes" if summary["code"]["dirty"] else ""
    yield f"- code {str(summary['code']['revision'])[:12]}{dirty}, {summary['made_at']}"
