"""What points say of whole pictures becomes a line of the summary, of the table and a mark of the picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from unlearning.metrics._beside_reference import side, way
from unlearning.report import whole
from unlearning.verbs import _study_whole

COUNTS = {"unlearned": 2, "original": 27, "reference": 0}
BITS = {"unlearned": 3.0, "original": 1.0, "reference": 5.0}
SCORE = {"mean": 4.0, "std": 0.5}


def record(seed: int, **changes: Any) -> dict[str, Any]:
    """What a point keeps, in the smallest form that says something of whole pictures."""
    drawn = {
        role: {"copies": {"count": count, "of": 1000}, "inception_score": SCORE, "frechet": 2.0 + seed, "kid": 0.1,
               "precision": 0.9, "recall": None}
        for role, count in COUNTS.items()
    }  # fmt: skip
    bits = {**BITS, **changes}
    likelihood = {name: {role: {"bits": value} for role, value in bits.items()} for name in ("forget", "holdout")}
    scores = {"forgetting_trained": 0.64, "reference_forgetting_trained": 0.8}
    return {
        "seed": seed,
        "scores": {name: {"value": value} for name, value in scores.items()},
        "whole_pictures": {"drawn": drawn, "likelihood": likelihood},
    }


def panel(*records: dict[str, Any]) -> dict[str, Any]:
    """One method of a panel, as the summary has it."""
    found = _study_whole.aggregate(records, 0.25)
    scores = [one["scores"]["forgetting_trained"]["value"] for one in records]
    point = {
        "value": 0.25,
        "seeds": [one["seed"] for one in records],
        "forgetting_trained": _study_whole.over_seeds(scores),
        "whole_pictures": found,
    }
    return {
        "family": "ddpm",
        "forget": "tshirt",
        "reference": {"forgetting_trained": {"value": 0.8}},
        "whole_pictures": _study_whole.anchors(records),
        "methods": [{"method": "siss", "varied": "unlearn.merge.ratio", "points": [point]}],
    }


def test_copies_are_pooled_over_seeds_with_wilsons_interval() -> None:
    found = _study_whole.aggregate([record(0), record(1)], 0.25)
    assert found is not None
    z, share = stats.norm.ppf(0.975), 4 / 2000
    centre = (share + z * z / 4000) / (1 + z * z / 2000)
    arm = z * np.sqrt(share * (1 - share) / 2000 + z * z / (4 * 2000**2)) / (1 + z * z / 2000)
    copies = found["copies"]
    assert (copies["count"], copies["of"], copies["rate"]) == (4, 2000, share)
    assert (copies["low"], copies["high"]) == pytest.approx((centre - arm, centre + arm))
    assert found["frechet"]["mean"] == 2.5
    assert found["recall"] is None


@pytest.mark.parametrize(
    ("bits", "told"), [((3.0, 3.0), "remembers"), ((4.0, 6.0), "like_reference"), ((5.5, 7.5), "over_forgets")]
)
def test_a_model_is_on_one_side_of_the_reference_or_beside_it(bits: tuple[float, float], told: str) -> None:
    """From the original's 1 bit to the reference's 5: the mean's way is 0.5, 1 and 1.375."""
    found = _study_whole.aggregate([record(seed, unlearned=value) for seed, value in enumerate(bits)], 0.25)
    assert found is not None
    assert found["ways"]["bits"] == pytest.approx((np.mean(bits) - 1) / 4)
    assert found["ways"]["forgetting_trained"] == pytest.approx(0.8)
    assert found["sides"] == {"bits": told, "forgetting_trained": "like_reference"}
    assert found["over_forgets"] == (told == "over_forgets")
    assert found["remembers"] == (told == "remembers")
    assert found["beyond"]["bits"] == sum(value > 6 for value in bits)


def test_where_the_reference_knows_as_much_as_the_original_no_side_is_told() -> None:
    assert way(2.0, 1.0, 1.0) is None
    assert way(2.0, None, 3.0) is None
    assert side(None, 0.25) is None
    found = _study_whole.aggregate([record(0, reference=1.0)], 0.25)
    assert found is not None
    assert found["sides"]["bits"] is None
    assert not found["over_forgets"]


def test_points_without_whole_pictures_say_nothing_of_them() -> None:
    plain = {"seed": 0, "scores": {}}
    assert _study_whole.aggregate([record(0), plain], 0.25) is None
    assert _study_whole.anchors([plain]) is None
    assert list(whole.table({"whole_pictures": None}, 0.25)) == []
    assert list(whole.table({}, 0.25)) == []  # an older summary
    assert whole.picture({"panels": [{"whole_pictures": None}]}) is None


def test_the_table_says_what_the_points_say() -> None:
    lines = list(whole.table(panel(record(0, unlearned=6.0), record(1, unlearned=8.0)), 0.25))
    original, reference, siss = (line.split(" | ") for line in lines if line.startswith(("| (", "| siss")))
    assert original[:4] == ["| (original)", "2.70 (1.86 to 3.90)", "0.00", "0"]
    assert reference[:5] == ["| (reference)", "0.00 (0.00 to 0.38)", "4.00", "1", "0.800"]
    assert siss[0] == "| siss, ratio 0.25"
    assert siss[1].startswith("0.20 (")
    assert siss[2].startswith("6.00 (")
    assert siss[3] == "1.50"
    assert siss[8:] == ["**over-forgets** by bits, like it by forgetting", "1 and 0 of 2 |"]


def test_the_picture_has_a_mark_a_seed_and_a_bar_a_model() -> None:
    """The same numbers give the same bytes; a seed more, or a copy more, is another picture."""
    target = {"reference_margin": 0.25}

    def drawn(*records: dict[str, Any]) -> bytes:
        content = whole.picture({"panels": [panel(*records)], "plan": {"target": target}})
        assert content is not None
        return content

    first = drawn(record(0), record(1))
    assert Image.open(io.BytesIO(first)).size[1] > 900
    assert first == drawn(record(0), record(1))
    assert first != drawn(record(0), record(1, unlearned=3.5))
    more = record(1)
    more["whole_pictures"]["drawn"]["unlearned"]["copies"]["count"] = 20
    assert first != drawn(record(0), more)
