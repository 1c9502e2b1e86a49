"""Hostile input at the doors: a typed refusal in one sentence, nothing run, nothing written, whatever is handed in."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security import corpora_images, corpora_pickles, corpora_tars, corpora_tensors, corpora_text, hostile
from tests.toy_batch import archive, png
from unlearning import json_text, tensor_files
from unlearning.data import tar_stream
from unlearning.errors import DataError

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


def test_limits_that_no_file_of_a_corpus_reaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "s.tar", ("a.png", b"1"), ("b.png", b"2"), ("c.png", b"3"))
    monkeypatch.setattr(tar_stream, "MAX_MEMBERS", 2)
    with pytest.raises(DataError, match="more than 2 members"):
        list(tar_stream.members(path))
    with pytest.raises(DataError, match="there is no such shard"):
        list(tar_stream.members(tmp_path / "none.tar"))
    with pytest.raises(json_text.NotJson, match="more than 3 bytes"):
        json_text.parse("[1, 2]", longest=3)
    (tmp_path / "model.safetensors").write_bytes(corpora_tensors.GOOD)
    assert tensor_files.check(tmp_path / "model.safetensors", "here") == ["a"]


def test_a_good_neighbour_is_still_let_in(bench: hostile.Bench) -> None:
    """The doors are no walls: what differs from the corpora in nothing but the hostility passes."""
    assert tensor_files.check(corpora_tensors.GOOD, "here") == ["a"]
    assert hostile.own(bench, corpora_tensors.GOOD).keys() == {"a"}  # type: ignore[attr-defined]
    good = archive(bench.hostile / "good.tar", ("a.png", png(7)), ("a.cls", b"x"), ("b.png", png(8)), ("b.txt", b"x"))
    assert bench.ingest(good).described["images"] == 2  # type: ignore[attr-defined]
