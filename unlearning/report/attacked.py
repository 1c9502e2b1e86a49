"""Attacks in a line each: what report.json has of them, brought down to the numbers that stand beside one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unlearning.report.grid import grid

Json = Mapping[str, Any]

_ROLES = ("original", "unlearned", "reference")
_UNTOLD = {"kind", "corruptions"}  # fields that are no words of a title


def headlines(report: Json) -> list[dict[str, Any]]:
    """One line an attack: {name, kind, finding, start, original, unlearned, reference, signal, blind, status}.

    Of a curve `start` is the unlearned model's forgetting before any effort, and the roles' numbers are forgetting
    where it is least; of a telling they are the AUC of the headline score; of an epsilon score its median, that of
    the reference being of equal models. `status` is its gate's word; None = no gate.
    Attacks that were not made are left out.
    """
    made = [entry for entry in report.get("attacks", ()) if "not_made" not in entry]
    judged = {row["name"]: row["status"] for row in report.get("criteria", ())}
    return [
        {
            "name": _name(entry, made),
            "kind": entry["kind"],
            "finding": entry["finding"],
            **_numbers(entry),
            "signal": entry["signal"],
            "blind": bool(entry.get("blind", False)),
            "status": judged.get(f"attack_{entry['kind']}"),
        }
        for entry in made
    ]


def titled(kind: str) -> str:
    """A kind in words."""
    return kind.replace("_", " ")


def tries(report: Json, kind: str) -> str:
    """What attacks of this kind try, in their own words; an older report's go by their name."""
    said = (entry["tries"] for entry in report.get("attacks", ()) if entry["kind"] == kind and "tries" in entry)
    return str(next(said, titled(kind)))


def glance(report: Json) -> list[dict[str, Any]]:
    """One row a kind, its worst variant: {kind, title, tries, variants, line, not_made}; `line` None = not made.

    Worst = the largest signal; a variant that measured none is worse than one that measured little.
    """
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for line in headlines(report):
        by_kind.setdefault(line["kind"], []).append(line)
    silent = {entry["kind"]: entry["not_made"] for entry in report.get("attacks", ()) if "not_made" in entry}
    kinds = list(dict.fromkeys(entry["kind"] for entry in report.get("attacks", ())))
    return [
        {
            "kind": kind,
            "title": titled(kind),
            "tries": tries(report, kind),
            "variants": len(by_kind.get(kind, ())),
            "line": max(by_kind[kind], key=_loudness) if kind in by_kind else None,
            "not_made": silent.get(kind),
        }
        for kind in kinds
    ]


def table(panel: Json) -> Iterator[str]:
    """The part of a study's table about attacks, Markdown; nothing where no point was attacked."""
    rows = [(line, point) for line in panel["methods"] for point in line["points"] if point.get("attacks")]
    names = list(dict.fromkeys(name for _, point in rows for name in point["attacks"]))
    if not names:
        return
    yield (
        "Attacks, mean over seeds. Of those that bring back: forgetting before → after the attack at its strongest, in "
        "brackets the reference's there. Of those that tell apart: AUC, in brackets the reference's (0.5 = a coin). "
        "Bold: refused by the gate on that attack; *blind*: it cannot tell here even what it should.\n"
    )
    head = ("method", *(name.replace("_", " ") for name in names))
    yield from grid(head, [_row(line, point, names) for line, point in rows])
    yield ""


def over_seeds(found: Sequence[Sequence[Json]]) -> dict[str, dict[str, Any]]:
    """The headlines of several seeds, by name: means of their numbers; refused if most seeds' gates refuse."""
    by_name: dict[str, list[Json]] = {}
    for line in (line for lines in found for line in lines):
        by_name.setdefault(line["name"], []).append(line)
    return {name: _mean(lines) for name, lines in by_name.items()}


def _mean(lines: Sequence[Json]) -> dict[str, Any]:
    def mean(values: list[Any]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    refused = sum(line["status"] not in (None, "pass") for line in lines)
    return {
        "finding": lines[0]["finding"],
        **{name: mean([line[name] for line in lines]) for name in ("start", *_ROLES)},
        "signal": mean([None if line["signal"] is None else line["signal"]["value"] for line in lines]),
        "blind": any(line["blind"] for line in lines),
        "refused": 2 * refused > len(lines),
        "judged": any(line["status"] is not None for line in lines),
        "seeds": len(lines),
    }


def _loudness(line: Mapping[str, Any]) -> tuple[bool, float]:
    signal = line["signal"]
    return signal is None, 0.0 if signal is None else float(signal["value"])


def _numbers(entry: Json) -> dict[str, Any]:
    if entry["finding"] == "curve":
        return _of_curve(entry)
    if entry["finding"] == "told":
        return {"start": None, **{role: entry[role]["separations"][0]["auc"] for role in _ROLES}}
    if entry["finding"] == "epsilon":
        median = {
            role: entry[part]["median"] for role, part in zip(_ROLES, ("original", "epsilon", "floor"), strict=True)
        }
        return {"start": None, **median}
    return {"start": None, **dict.fromkeys(_ROLES)}


def _of_curve(entry: Json) -> dict[str, Any]:
    """At the point, after the first, at which the unlearned model's forgetting is least."""
    line = entry["unlearned"]["forgetting"]
    known = [place for place in range(min(1, len(line) - 1), len(line)) if line[place] is not None]
    if not known:
        return {"start": line[0], **dict.fromkeys(_ROLES)}
    least = min(known, key=lambda place: line[place])
    return {"start": line[0], **{role: entry[role]["forgetting"][least] for role in _ROLES}}


def _name(entry: Json, made: Sequence[Json]) -> str:
    """The kind; where there are several of it, with the fields in which they differ."""
    others = [one["recipe"] for one in made if one["kind"] == entry["kind"]]
    recipe = entry["recipe"]
    differ = [
        name for name in recipe if name not in _UNTOLD and any(other.get(name) != recipe[name] for other in others)
    ]
    words = [str(recipe[name]) for name in differ if isinstance(recipe[name], str)]
    counts = [f"{name} {recipe[name]}" for name in differ if isinstance(recipe[name], int | float)]
    return ", ".join([entry["kind"], *words, *counts])


def _row(line: Json, point: Json, names: Sequence[str]) -> list[str]:
    value = "" if line["varied"] is None else f", {line['varied'].rpartition('.')[2]} {point['value']}"
    return [f"{line['method']}{value}", *(_cell(point["attacks"].get(name)) for name in names)]


def _cell(found: Json | None) -> str:
    if found is None or found["unlearned"] is None:
        return ""
    if found["blind"]:
        return "*blind*"
    beside = "" if found["reference"] is None else f" ({found['reference']:.2f})"
    start = "" if found["start"] is None else f"{found['start']:.2f} → "
    said = f"{start}{found['unlearned']:.2f}{beside}"
    return f"**{said}**" if found["refused"] else said
