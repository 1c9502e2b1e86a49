"""Where a model stands between forgetting and keeping, beside what never saw, what knows everything, and nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlearning.report import charts
from unlearning.report.charts import Corner, Spread, Stand, Voice

Json = Mapping[str, Any]

ORIGINAL: tuple[Spread, Spread] = ((1.0, None, None), (0.0, None, None))  # retention, forgetting: by definition
NOTHING: tuple[Spread, Spread] = ((0.0, None, None), (1.0, None, None))  # the mean picture, by definition


def plots(report: Json) -> dict[str, Any] | None:
    """{whole, near, voices, judged}: two charts, and who stands on them; None where a score was not measured."""
    stands = _stands(report)
    if stands is None:
        return None
    title = "forgetting" if axis(report) == "forgetting" else "forgetting, images training saw"
    return {
        "whole": charts.standing(stands, corner(report), True, title),
        "near": charts.standing(stands, corner(report), False, title),
        "voices": [stand.voice for stand in stands],
        "judged": corner(report).low is not None,
    }


def axis(report: Json) -> str:
    """Which forgetting the gates of the goal judge."""
    return "forgetting_trained" if report["goal"] == "never_seen" else "forgetting"


def scores(report: Json, prefix: str = "") -> tuple[Spread, Spread] | None:
    """Retention and forgetting of the unlearned model; of the reference with prefix `reference_`."""
    found = report["scores"]
    kept = charts.spread(found.get(f"{prefix}retention"))
    gone = charts.spread(found.get(f"{prefix}{axis(report)}"))
    return None if kept is None or gone is None else (kept, gone)


def corner(report: Json) -> Corner:
    """What the gates ask for: forgetting from a bound on, or, of who never saw, as near as that to the reference."""
    bounds = {row["name"]: row.get("bound", "") for row in report.get("criteria", ())}
    kept = _bound(bounds.get("retention", ""))
    if report["goal"] != "never_seen":
        return Corner(kept, _bound(bounds.get("forgetting", "")), None)
    distance, reference = _bound(bounds.get("reference_distance", "")), scores(report, "reference_")
    if distance is None or reference is None:
        return Corner(kept, None, None)
    return Corner(kept, reference[1][0] - distance, reference[1][0] + distance)


def _stands(report: Json) -> list[Stand] | None:
    own, reference = scores(report), scores(report, "reference_")
    if own is None:
        return None
    beside = [] if reference is None else [Stand(Voice("reference", "var(--reference)"), *reference)]
    return [
        Stand(Voice("original", "var(--original)"), *ORIGINAL),
        Stand(Voice("unlearned", "var(--unlearned)"), *own),
        *beside,
        Stand(Voice("mean_picture", "var(--mean_picture)"), *NOTHING, far=True),
    ]


def _bound(text: str) -> float | None:
    """`>= 0.98` as a number."""
    number = text.rpartition(" ")[2]
    try:
        return float(number)
    except ValueError:
        return None
