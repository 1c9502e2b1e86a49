"""Hostile input at the doors: a typed refusal in one sentence, nothing run, nothing written, whatever is handed in."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security import corpora_images, corpora_pickles, corpora_tars, corpora_tensors, corpora_text, hostile
from tests.toy_batch import archive, png
from unlearning import tensor_files

MIB = 2**20


@pytest.fixture(scope="module")
def bench() -> Iterator[hostile.Bench]:
    with hostile.bench() as made:
        yield made


def test_the_pickles_are_no_duds(tmp_path: Path) -> None:
    made = corpora_pickles.corpus(tmp_path)
    assert corpora_pickles.proven(tmp_path) == set(made)
    assert len(corpora_pickles.GADGETS) >= 25


def test_the_corpora_are_as_large_as_they_are_said_to_be() -> None:
    assert len(corpora_tars.HOSTILE) >= 10
    assert len(corpora_images.HOSTILE) >= 10
    assert len(corpora_tensors.HOSTILE) >= 10
    assert len(corpora_text.JSON) >= 30


@pytest.mark.parametrize("corpus", hostile.CORPORA, ids=lambda corpus: corpus.__name__)
def test_nothing_but_a_typed_refusal(bench: hostile.Bench, corpus: object) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = corpus(bench)  # type: ignore[operator]
    assert [row["odd"] for row in found] == [[] for _ in found]
    assert all(row["tried"] == row["refused"] > 0 for row in found)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 600 * MIB  # a bomb of these corpora that goes off takes gigabytes


def test_a_good_neighbour_is_still_let_in(bench: hostile.Bench) -> None:
    """The doors are no walls: what differs from the corpora in nothing but the hostility passes."""
    assert tensor_files.check(corpora_tensors.GOOD, "here") == ["a"]
    assert hostile.own(bench, corpora_tensors.GOOD).keys() == {"a"}  # type: ignore[attr-defined]
    good = archive(bench.hostile / "good.tar", ("a.png", png(7)), ("a.cls", b"x"), ("b.png", png(8)), ("b.txt", b"x"))
    assert bench.ingest(good).described["images"] == 2  # type: ignore[attr-defined]
