"""What a run came to, as plain text: three models on four sets, the scores with their intervals, the gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unlearning.gates import Verdict
from unlearning.report.attacked import glance

ROLES = ("original", "unlearned", "reference")
SETS = {
    "forget": "forget",
    "forget_holdout": "forget, held out",
    "retain": "retain",
    "holdout": "holdout",
    "siblings": "siblings",
}
_TITLES = {"mse": "Mean squared error of missing pixels", "surprise": "Surprise: a model's own loss at whole pictures"}


def text(report: Mapping[str, Any], verdict: Verdict) -> str:
    """The whole of it; the last line is the verdict."""
    parts = [
        _TITLES[report.get("measure", "mse")],
        table(("set", "images", *ROLES), _errors(report)),
        "Scores: 0 = like the original, 1 = as wrong as the mean picture (retention: 1 minus that)",
        table(("score", "value", f"{report.get('confidence', 0.95):.0%} interval", "measured on"), _scores(report)),
        *_attack_parts(report),
        f"Gates of the goal {verdict.goal}",
        table(("gate", "verdict", "why"), _gates(verdict)),
        f"verdict: {verdict.word}",
    ]
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; numbers to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join("  ".join(map(_aligned, line, widths)).rstrip() for line in lines)


def _aligned(cell: str, width: int) -> str:
    number = cell.lstrip("-").replace(".", "", 1).isdigit()
    return cell.rjust(width) if number else cell.ljust(width)


def _errors(report: Mapping[str, Any]) -> list[list[str]]:
    sets, error = report["sets"], report.get("measure", "mse")
    return [
        [shown, str(sets[name]["images"]), *(_number(sets[name]["metrics"].get(role, {}).get(error)) for role in ROLES)]
        for name, shown in SETS.items()
        if name in sets
    ]


def _scores(report: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            name,
            _number(score["value"], 3),
            f"{_number(score['low'], 3)} … {_number(score['high'], 3)}",
            SETS.get(score["set"], score["set"]),
        ]
        for name, score in report["scores"].items()
        if score is not None
    ]


def _attack_parts(report: Mapping[str, Any]) -> list[str]:
    """A line a kind of attack, its worst variant; nothing where none was made."""
    rows = [_attack(row) for row in glance(report) if row["line"] is not None]
    head = ("attack", *ROLES, "signal", "what it tries")
    title = "Attacks: forgetting where it is least (of the unlearned model before → after), or AUC (0.5 = a coin)"
    return [title, table(head, rows)] if rows else []


def _attack(row: Mapping[str, Any]) -> list[str]:
    line = row["line"]
    signal = None if line["signal"] is None else line["signal"]["value"]
    before = "" if line["start"] is None else f"{_number(line['start'], 3)} → "
    numbers = {role: _number(line[role], 3) for role in ROLES} | {"unlearned": before + _number(line["unlearned"], 3)}
    tries = f"{row['tries']}{' (blind here)' if line['blind'] else ''}"
    return [row["title"], *(numbers[role] for role in ROLES), _number(signal, 3), tries]


def _gates(verdict: Verdict) -> list[list[str]]:
    return [[one.name, _word(one.status, one.blocking), one.sentence] for one in verdict.criteria]


def _word(status: str, blocking: bool) -> str:
    return status if blocking or status == "pass" else f"{status} (a warning)"


def _number(value: float | None, digits: int = 4) -> str:
    return "not measured" if value is None else f"{value:.{digits}f}"
