"""What a study's points say of whole pictures, over seeds: copies, bits, quality, and on which side of the reference.

All in two directions. A model to which an image is less likely than to one that never saw it has over-forgotten: the
image stands out as one that was deleted, and that is a defect as much as a copy is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy import stats

from unlearning.metrics._beside_reference import side, way
from unlearning.metrics._rate import rate

QUALITY = ("inception_score", "frechet", "kid", "precision", "recall")
_CONFIDENCE = 0.95

Json = dict[str, Any]


def over_seeds(values: Sequence[float]) -> Json:
    """Mean, Student's t interval (95 %; none from one seed), and the least and most seen."""
    mean, seen = float(np.mean(values)), len(values)
    arm = None
    if seen > 1:
        arm = float(stats.t.ppf((1 + _CONFIDENCE) / 2, seen - 1) * np.std(values, ddof=1) / np.sqrt(seen))
    low, high = (None, None) if arm is None else (mean - arm, mean + arm)
    return {"mean": mean, "low": low, "high": high, "least": min(values), "most": max(values), "seeds": seen}


def aggregate(records: Sequence[Json], margin: float) -> Json | None:
    """The unlearned models of one method and value. None where its points were not asked for whole pictures.

    `ways` are the means' ways from the original's (0) to the reference's (1), of bits and of forgetting; `beyond` the
    number of seeds whose own way is more than `margin` past 1; `over_forgets` whether one of the means' is.
    """
    if not all("whole_pictures" in record for record in records):
        return None
    means, each = _ways(records), [_ways([record]) for record in records]
    sides = {name: side(found, margin) for name, found in means.items()}
    return {
        **_levels(records, "unlearned"),
        "ways": means,
        "sides": sides,
        "over_forgets": "over_forgets" in sides.values(),
        "remembers": "remembers" in sides.values(),
        "beyond": {name: sum(side(one[name], margin) == "over_forgets" for one in each) for name in means},
        "seeds_way": {name: [one[name] for one in each] for name in means},
        "seeds_quality": {name: [_quality(record, "unlearned", name) for record in records] for name in QUALITY},
    }


def anchors(records: Sequence[Json]) -> Json | None:
    """The original and the reference, which are the same at every point of a base. None where none was asked for."""
    some = next((record for record in records if "whole_pictures" in record), None)
    return None if some is None else {role: _levels([some], role) for role in ("original", "reference")}


def _levels(records: Sequence[Json], role: str) -> Json:
    """Copies pooled over the records, everything else as a mean over them; None for what was not measured."""
    return {
        "copies": _pooled(records, role),
        "bits": _known_over_seeds(_bits(one, "forget", role) for one in records),
        "holdout_bits": _known_over_seeds(_bits(one, "holdout", role) for one in records),
        **{name: _known_over_seeds(_quality(one, role, name) for one in records) for name in QUALITY},
    }


def _ways(records: Sequence[Json]) -> dict[str, float | None]:
    """How far the means over `records` went from the original to the reference: of bits, and of forgetting."""
    bits = [_mean(_bits(one, "forget", role) for one in records) for role in ("unlearned", "original", "reference")]
    forgotten, beside = (
        _mean(_score(one, name) for one in records) for name in ("forgetting_trained", "reference_forgetting_trained")
    )
    return {"bits": way(*bits), "forgetting_trained": way(forgotten, 0.0, beside)}


def _known_over_seeds(values: Iterable[float | None]) -> Json | None:
    known = [value for value in values if value is not None]
    return over_seeds(known) if known else None


def _mean(values: Iterable[float | None]) -> float | None:
    found = _known_over_seeds(values)
    return None if found is None else float(found["mean"])


def _pooled(records: Sequence[Json], role: str) -> Json | None:
    """Copies among the drawn pictures of all records together, with Wilson's interval."""
    found = [block["copies"] for record in records if (block := _drawn(record).get(role)) is not None]
    if not found:
        return None
    return asdict(rate(sum(one["count"] for one in found), sum(one["of"] for one in found), _CONFIDENCE))


def _drawn(record: Json) -> Mapping[str, Any]:
    found: Mapping[str, Any] = record["whole_pictures"].get("drawn", {})
    return found


def _quality(record: Json, role: str, name: str) -> float | None:
    value = _drawn(record).get(role, {}).get(name)
    number: float | None = value["mean"] if isinstance(value, dict) else value
    return number


def _bits(record: Json, name: str, role: str) -> float | None:
    found: float | None = record["whole_pictures"].get("likelihood", {}).get(name, {}).get(role, {}).get("bits")
    return found


def _score(record: Json, name: str) -> float | None:
    found = record["scores"].get(name)
    return None if found is None else float(found["value"])
