"""Put several evaluation reports side by side: compare.html, compare.json, pareto.png and attacks.png."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unlearning import digests, files
from unlearning.errors import EvidenceError, ParamsError, UnlearningError
from unlearning.report import comparison, comparison_page
from unlearning.report.comparison import Told
from unlearning.workspace import Workspace

_NEEDED = ("batch", "model", "goal", "verdict", "scores", "sets", "criteria", "corruption", "seeds")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where it lies, and what compare.json says."""

    folder: Path
    summary: dict[str, Any]


def run(places: Sequence[str], workspace: Workspace, out: Path, unlike: bool = False) -> Outcome:
    """Compare the reports at `places`: keys of batches, folders of reports, or files report.json.

    Runs whose images, corruption, draws, measure, goal, original or reference differ are refused unless `unlike`, and
    then the page says which differ. Raises ParamsError for that and for fewer than two, EvidenceError for what is no
    report.
    """
    if len(places) < 2:
        raise ParamsError(f"compare: {len(places)} given, and a comparison is of two reports at least")
    paths = [_path(place, workspace) for place in places]
    reports = [_report(path) for path in paths]
    names = _names(reports)
    runs = [
        Told(name, report, _images(path)) for name, report, path in zip(names, reports, _comparable(paths), strict=True)
    ]
    try:
        differ = comparison.unlike(runs)
        if differ and not unlike:
            raise ParamsError(
                f"compare: these runs differ in {', '.join(differ.values())}, so their numbers do not mean the same; "
                "compare runs that were evaluated alike, or say --unlike"
            )
        summary = comparison.compared(runs)
        made = _made(summary, runs)
    except (KeyError, TypeError, AttributeError, ValueError) as error:  # files from anywhere
        raise EvidenceError(
            f"compare: a report is not as evaluate writes it ({type(error).__name__}: {error})"
        ) from None
    out.mkdir(parents=True, exist_ok=True)
    for name, content in made.items():
        if content is not None:
            files.write_bytes(out / name, content)
    return Outcome(out, summary)


def _made(summary: dict[str, Any], runs: Sequence[Told]) -> dict[str, bytes | None]:
    return {
        "compare.json": files.canonical(summary),
        "compare.html": comparison_page.render(summary, runs).encode(),
        "pareto.png": comparison_page.pareto(summary),
        "attacks.png": comparison_page.attacks(summary),
    }


def _path(place: str, workspace: Workspace) -> Path:
    """Of report.json."""
    path = Path(place)
    for found in (path, path / "report.json", path / "evaluation_report" / "report.json"):
        if found.is_file():
            return found
    try:
        found = workspace.batch(place).report
    except UnlearningError:
        found = path
    if not found.is_file():
        raise EvidenceError(
            f"{place[:80]}: no report lies there, and none of a batch of that key; the key of an evaluated batch, the "
            "folder of an evaluation_report or its report.json is right"
        )
    return found


def _report(path: Path) -> Mapping[str, Any]:
    report = files.read_json(path)
    missing = [name for name in _NEEDED if name not in report] if isinstance(report, dict) else ["everything"]
    if missing:
        raise EvidenceError(f"{path}: not an evaluation report ({missing[0]} is missing); report.json is right")
    return dict(report)


def _names(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """The batch; of several reports of one batch's key each has a number."""
    keys = [str(report["batch"]) for report in reports]
    return [
        key if keys.count(key) == 1 else f"{key} ({keys[: place + 1].count(key)})" for place, key in enumerate(keys)
    ]


def _comparable(paths: Sequence[Path]) -> Sequence[Path | None]:
    """per_image.parquet beside each report, or None of all where one has none: counts and classes must do then."""
    found = [path.with_name("per_image.parquet") for path in paths]
    return found if all(path.is_file() for path in found) else [None] * len(found)


def _images(path: Path | None) -> dict[str, str]:
    """Set -> digest of the keys of its images."""
    if path is None:
        return {}
    try:
        table = pq.read_table(path, columns=["set", "key"])
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError):
        return {}
    keys: dict[str, set[str]] = {}
    for name, key in zip(table["set"].to_pylist(), table["key"].to_pylist(), strict=True):
        keys.setdefault(name, set()).add(key)
    return {name: digests.of_value(sorted(some)) for name, some in keys.items()}
