"""Near duplicates, caps and holds: who may be forgotten at once, against a plain reference that walks every row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toy_batch import request_body, request_id
from unlearning import digests
from unlearning.data import neighbours
from unlearning.requests import resolution
from unlearning.requests.resolution_review import CAP, HOLD, NEAR, OFFICER, Asked, Review, Reviewed, scheduled
from unlearning.requests.schema import Request, parse
from unlearning.rules import Caps, NearDuplicates, Resolve

ROWS = [  # key, pixels, class, hash
    ("k0", "p0", "cat", 0b0000),
    ("k1", "p1", "cat", 0b0001),
    ("k2", "p2", "cat", 0b0111),
    ("k3", "p3", "dog", 0b0011),
    ("k4", "p0", "dog", 0b0000),
    ("k5", "p5", "", 0xFF00),
]


def asked(number: int, *selectors: dict[str, Any], controller: str = "shop-1", **near: Any) -> Request:
    body = request_body(request_id=request_id(number), controller_id=controller, selectors=list(selectors))
    return parse(json.dumps(body | ({"near_duplicates": near} if near else {})), "here").request


def review(
    requests: Sequence[Request],
    rules: Resolve,
    rows: list[tuple[str, str, str, int]] = ROWS,
    held: Sequence[Request] = (),
    word: set[tuple[str, str]] = frozenset(),  # type: ignore[assignment]
    decided: bool = False,
) -> list[Reviewed]:
    keys, pixels, classes, hashes = zip(*rows, strict=True)
    index = pa.table(
        {
            "key": list(keys),
            "sha256": [digests.of_value(key) for key in keys],
            "pixel_sha256": [digests.of_value(one) for one in pixels],
            "class": list(classes),
            "subject": [""] * len(keys),
        }
    )
    known = np.array(hashes, dtype=np.uint64)
    kept = np.zeros(len(keys), dtype=bool)
    for one in resolution.resolve(held, index) if held else ():
        kept[one.covered] = True
    reviewing = Review(index, "toys", rules, kept)
    found = []
    for request, one in zip(requests, resolution.resolve(requests, index), strict=True):
        near = neighbours.union(
            neighbours.near_by_hash(known, known[one.seeds], int(request.near_duplicates.threshold))
        )
        found.append(reviewing(Asked(request, one, near, decided, lambda: set(word))))
    return found


def digest(*keys: str) -> str:
    return digests.of_value({"dataset": "toys", "keys": sorted(keys)})


INCLUDE: dict[str, Any] = {"mode": "include", "threshold": 1}
WITHIN = Resolve(near_duplicates=NearDuplicates(accept="within", bits=1, most=2))


def test_the_same_pixels_are_named_by_their_own_hash() -> None:
    (found,) = review([asked(1, {"pixel_sha256": digests.of_value("p0")})], Resolve())
    assert (found.found.selected.tolist(), found.state) == ([0, 4], "scheduled")
    (other,) = review([asked(1, {"pixel_sha256": digests.of_value("k0")})], Resolve())  # a hash of bytes, not of pixels
    assert other.state == "not_found"


def test_near_duplicates_are_proposed_and_taken_in_when_exactly_these_are_approved() -> None:
    request = asked(1, {"sample_key": "k1"}, **INCLUDE)
    (waiting,) = review([request], Resolve())
    assert (waiting.state, waiting.taken.tolist()) == ("in_review", [0, 1, 3, 4])
    (proposal,) = waiting.open
    assert (proposal.what, proposal.reason, proposal.rows.tolist()) == (NEAR, "near_duplicates_proposed", [0, 3, 4])
    assert proposal.digest == digest("k0", "k3", "k4")
    (taken,) = review([request], Resolve(), word={(NEAR, proposal.digest)})
    assert (taken.state, taken.accepted_by) == ("scheduled", "approval")
    assert scheduled([taken])[0].covered.tolist() == [0, 1, 3, 4]
    for wrong in ((NEAR, digest("k0", "k3")), (CAP, proposal.digest)):
        assert review([request], Resolve(), word={wrong})[0].state == "in_review"


@pytest.mark.parametrize(
    ("near", "rules", "state"),
    [
        (INCLUDE, Resolve(near_duplicates=NearDuplicates(accept="within", bits=1, most=3)), "scheduled"),
        (INCLUDE, WITHIN, "in_review"),  # three are more than two
        ({**INCLUDE, "max_expand": 2}, Resolve(near_duplicates=NearDuplicates(accept="within", bits=1)), "in_review"),
        ({**INCLUDE, "threshold": 2}, Resolve(near_duplicates=NearDuplicates(accept="within", bits=1)), "in_review"),
        ({**INCLUDE, "threshold": 0}, WITHIN, "scheduled"),  # nothing is that near, so nothing is proposed
    ],
)
def test_policy_takes_in_what_stays_within_its_bounds(near: dict[str, Any], rules: Resolve, state: str) -> None:
    (found,) = review([asked(1, {"sample_key": "k1"}, **near)], rules)
    assert found.state == state
    assert found.accepted_by == ("policy" if state == "scheduled" and len(found.near) else None)


def test_a_report_counts_and_takes_nothing() -> None:
    (found,) = review([asked(1, {"sample_key": "k1"}, mode="report", threshold=1)], WITHIN)
    assert (found.state, found.taken.tolist(), found.near.tolist()) == ("scheduled", [1], [0, 3, 4])
    assert found.near_digest == digest("k0", "k3", "k4")


def test_near_duplicate_of_says_which_image_is_meant() -> None:
    named = asked(1, {"sample_key": "k0"}, {"near_duplicate_of": "k3"}, **INCLUDE)
    (found,) = review([named], Resolve())
    assert (found.found.covered.tolist(), found.near.tolist()) == ([0, 3, 4], [1, 2])  # k1 is near k3, k2 too


def test_what_was_frozen_stays_as_it_was_decided() -> None:
    request = asked(1, {"sample_key": "k1"}, **INCLUDE)
    (found,) = review([request], Resolve(caps=Caps(images_of_request=1)), held=[request], decided=True)
    assert (found.state, found.taken.tolist()) == ("scheduled", [0, 1, 3, 4])


@pytest.mark.parametrize(
    ("caps", "reason"),
    [
        ({"images_of_request": 1}, "cap_images_of_request"),
        ({"images_of_request": 2}, None),
        ({"share_of_data": 0.3}, "cap_share_of_data"),
        ({"share_of_data": 0.34}, None),
        ({"share_of_class": 0.6}, "cap_share_of_class"),
        ({"share_of_class": 0.67}, None),
    ],
)
def test_a_cap_holds_until_these_images_are_approved(caps: dict[str, float], reason: str | None) -> None:
    request = asked(1, {"sample_key": "k1"}, {"sample_key": "k2"})  # two of six images, two of three cats
    rules = Resolve(caps=Caps(**caps))
    (found,) = review([request], rules)
    assert [one.reason for one in found.open] == ([] if reason is None else [reason])
    if reason is not None:
        (proposal,) = found.open
        assert review([request], rules, word={(CAP, proposal.digest)})[0].state == "scheduled"
        assert review([request], rules, word={(CAP, digest("k1"))})[0].state == "in_review"


def test_a_requester_is_counted_over_its_requests_and_others_are_not() -> None:
    rules = Resolve(caps=Caps(images_of_requester=2))
    requests = [
        asked(1, {"sample_key": "k1"}),
        asked(2, {"sample_key": "k0"}),  # with its copy three images
        asked(3, {"sample_key": "k1"}, {"sample_key": "k5"}),  # one of them was counted before
        asked(4, {"sample_key": "k2"}, controller="shop-2"),
    ]
    found = review(requests, rules)
    assert [one.state for one in found] == ["scheduled", "in_review", "scheduled", "scheduled"]
    assert found[1].open[0].reason == "cap_images_of_requester"


def test_a_held_image_is_deleted_for_nobody_until_somebody_decides() -> None:
    held = [asked(9, {"sample_key": "k4"})]  # the pixels of k0
    one, two = asked(1, {"sample_key": "k0"}, {"sample_key": "k1"}), asked(2, {"sample_key": "k2"})
    first, second = review([one, two], Resolve(), held=held)
    assert ([proposal.reason for proposal in first.open], second.state) == ([HOLD], "scheduled")
    assert first.open[0].rows.tolist() == [0, 4]
    assert review([one], Resolve(), held=held, word={(HOLD, first.open[0].digest)})[0].state == "scheduled"
    assert review([one], Resolve(), held=[asked(9, {"sample_key": "k5"})])[0].state == "scheduled"


def test_each_requester_of_the_same_images_keeps_an_entry() -> None:
    requests = [asked(1, {"sample_key": "k0"}), asked(2, {"sample_key": "k4"}), asked(3, {"sample_key": "k2"})]
    found = review(requests, Resolve())
    assert [one.same_rows_as for one in found] == [None, request_id(1), None]
    assert len(scheduled(found)) == 3


def test_a_class_asked_for_image_by_image_under_several_names_is_one_class() -> None:
    """Three cats; two thirds may go. The dog of the last request is not held up by the cats of the others."""
    rules = Resolve(caps=Caps(share_of_class_in_batch=0.67))
    requests = [asked(n, {"sample_key": f"k{n}"}, controller=f"shop-{n}") for n in (1, 2, 0, 3)]
    rows = [*ROWS[:4], ("k4", "p4", "dog", 0), ROWS[5]]
    found = review(requests, rules, rows)
    assert [one.state for one in found] == ["scheduled", "scheduled", "in_review", "scheduled"]
    (proposal,) = found[2].open
    assert (proposal.what, proposal.reason, proposal.rows.tolist()) == (CAP, "cap_share_of_class_in_batch", [0])
    approved = review(requests, rules, rows, word={(CAP, proposal.digest)})
    assert [one.state for one in approved] == ["scheduled"] * 4
    assert "share_of_class_in_batch" not in Caps().model_dump()  # the digest of caps from before it could be set


def test_what_the_parameters_leave_to_an_officer_waits_whatever_the_request_says() -> None:
    rules = Resolve(officer=("subject", "class"))
    mine = asked(1, {"class": "dog", "approved_by": "privacy-officer"})
    found = review([mine, asked(2, {"sample_key": "k1"})], rules)
    assert [one.state for one in found] == ["in_review", "scheduled"]
    (proposal,) = found[0].open
    # k0 has the pixels of k4, a dog.
    assert (proposal.what, proposal.reason, proposal.digest) == (OFFICER, "officer_for_class", digest("k0", "k3", "k4"))
    assert review([mine], rules, word={(OFFICER, proposal.digest)})[0].state == "scheduled"
    assert review([mine], rules, word={(CAP, proposal.digest)})[0].state == "in_review"
    assert "officer" not in Resolve().model_dump()


# --- the fast way against a slow one ---

small = st.integers(0, 3)
row = st.tuples(small, st.sampled_from(["a", "b", ""]), st.integers(0, 15))
chosen = st.tuples(st.lists(small, min_size=1, max_size=2), st.integers(0, 2), st.sampled_from(["off", "include"]))
cap = st.none() | st.integers(1, 4)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.lists(row, min_size=4, max_size=8), st.lists(chosen, min_size=1, max_size=4), st.none() | small, cap, cap)
def test_the_fast_way_agrees_with_the_plain_one(
    drawn: list[tuple[int, str, int]],
    choices: list[tuple[list[int], int, str]],
    hold: int | None,
    of_request: int | None,
    of_requester: int | None,
) -> None:
    # Equal pixels have equal hashes, as equal pictures do.
    hash_of = {pixels: bits for pixels, _, bits in reversed(drawn)}
    rows = [(f"k{n}", f"p{pixels}", label, hash_of[pixels]) for n, (pixels, label, _) in enumerate(drawn)]
    requests = [
        asked(n, *({"sample_key": f"k{key}"} for key in keys), mode=mode, threshold=bits)
        for n, (keys, bits, mode) in enumerate(choices)
    ]
    rules = Resolve(
        near_duplicates=NearDuplicates(accept="within", bits=1, most=2),
        caps=Caps(images_of_request=of_request, images_of_requester=of_requester),
    )
    held = [] if hold is None else [asked(99, {"sample_key": f"k{hold}"})]
    found = review(requests, rules, rows, held)
    mine: set[int] = set()
    for (keys, bits, mode), one in zip(choices, found, strict=True):
        covered = _copies(rows, set(keys))
        near = {n for n in range(len(rows)) for key in keys if (rows[n][3] ^ rows[key][3]).bit_count() <= bits}
        gained = near - covered if mode == "include" else set()
        taken = covered | gained
        reasons = []
        if hold is not None and taken & _copies(rows, {hold}):
            reasons.append(HOLD)
        if gained and (bits > 1 or len(gained) > 2):
            reasons.append("near_duplicates_proposed")
        if of_request is not None and len(taken) > of_request:
            reasons.append("cap_images_of_request")
        elif of_requester is not None and len(taken | mine) > of_requester:
            reasons.append("cap_images_of_requester")
        assert set(one.taken.tolist()) == taken
        assert [proposal.reason for proposal in one.open] == reasons
        assert one.state == ("in_review" if reasons else "scheduled")
        mine |= set() if reasons else taken


def _copies(rows: list[tuple[str, str, str, int]], named: set[int]) -> set[int]:
    pixels = {rows[n][1] for n in named}
    return {n for n, one in enumerate(rows) if one[1] in pixels}
