"""Selectors find exactly the stored rows they name, and every copy of the same pixels."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toy_batch import request_body, request_id
from unlearning.errors import RequestError
from unlearning.requests import resolution
from unlearning.requests.schema import Request, parse

APPROVED = {"approved_by": "privacy-officer"}


def index(rows: list[tuple[str, str, str, str, str, str]]) -> pa.Table:
    names = ("key", "sha256", "pixel_sha256", "class", "subject", "split")
    return pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)})


TABLE = index(
    [
        ("k0", "a" * 64, "p0", "cat", "s1", "train"),
        ("k1", "b" * 64, "p1", "cat", "s2", "holdout"),
        ("k2", "c" * 64, "p0", "dog", "s3", "train"),  # the pixels of k0, stored otherwise
        ("k3", "c" * 64, "p2", "dog", "s3", "train"),  # the bytes of k2 (a hash may stand for many rows)
        ("k4", "d" * 64, "p4", "owl", "", "train"),
    ]
)


def asked(number: int, *selectors: dict[str, Any]) -> Request:
    body = request_body(request_id=request_id(number), selectors=list(selectors))
    return parse(json.dumps(body), "here").request


@pytest.mark.parametrize(
    ("selectors", "selected", "covered"),
    [
        ([{"sample_key": "k1"}], [1], [1]),
        ([{"sample_key": "k2"}], [2], [0, 2]),
        ([{"content_sha256": "c" * 64}], [2, 3], [0, 2, 3]),
        ([{"subject": "s3"}, {"sample_key": "k4"}], [2, 3, 4], [0, 2, 3, 4]),
        ([{"class": "cat", **APPROVED}], [0, 1], [0, 1, 2]),
        ([{"class": "cat", **APPROVED}, {"sample_key": "k0"}], [0, 1], [0, 1, 2]),
        ([{"sample_key": "cat"}, {"subject": "k0"}, {"class": "s1", **APPROVED}], [], []),
    ],
)
def test_rows_of_a_request(selectors: list[dict[str, Any]], selected: list[int], covered: list[int]) -> None:
    (found,) = resolution.resolve([asked(1, *selectors)], TABLE)
    assert found.selected.tolist() == selected
    assert found.covered.tolist() == covered


def test_each_row_names_the_requests_that_cover_it() -> None:
    found = resolution.resolve(
        [asked(3, {"subject": "s3"}), asked(1, {"sample_key": "k0"}), asked(2, {"subject": "nobody"})], TABLE
    )
    table = resolution.forget_table(found, TABLE)
    assert table["key"].to_pylist() == ["k0", "k2", "k3"]
    both = [request_id(1), request_id(3)]
    assert table["requests"].to_pylist() == [both, both, [request_id(3)]]


def test_a_request_that_leaves_nothing_to_retain_is_refused() -> None:
    everything = [{"class": name, **APPROVED} for name in ("cat", "dog", "owl")]
    found = resolution.resolve([asked(1, {"sample_key": "k4"}), asked(2, *everything)], TABLE)
    with pytest.raises(RequestError, match=f"request {request_id(2)} covers 5 of 5 images"):
        resolution.forget_table(found, TABLE)


def test_requests_that_leave_nothing_only_together_are_refused_too() -> None:
    trained = [asked(n, {"sample_key": key}) for n, key in enumerate(("k0", "k2", "k3", "k4"))]
    found = resolution.resolve(trained, TABLE)  # k1 is held out: nothing to train on is left
    with pytest.raises(RequestError, match="leaves no training image to retain"):
        resolution.forget_table(found, TABLE)


letters = st.sampled_from("abc")


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    st.lists(st.tuples(letters, letters, letters), min_size=1, max_size=12),
    st.lists(st.lists(st.tuples(st.sampled_from(["subject", "class"]), letters), min_size=1, max_size=3), max_size=4),
)
def test_the_fast_way_agrees_with_the_plain_one(
    rows: list[tuple[str, str, str]], asks: list[list[tuple[str, str]]]
) -> None:
    table = index([(f"k{n}", "", pixels, label, subject, "train") for n, (pixels, label, subject) in enumerate(rows)])
    requests = [
        asked(n, *({by: value, **(APPROVED if by == "class" else {})} for by, value in ask))
        for n, ask in enumerate(asks)
    ]
    for found, ask in zip(resolution.resolve(requests, table), asks, strict=True):
        named = {
            n
            for n, (_, label, subject) in enumerate(rows)
            if any(value == (subject if by == "subject" else label) for by, value in ask)
        }
        pixels = {rows[n][0] for n in named}
        assert set(found.selected.tolist()) == named
        assert set(found.covered.tolist()) == {n for n, row in enumerate(rows) if row[0] in pixels}
        assert np.all(np.diff(found.covered) > 0)
