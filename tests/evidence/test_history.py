"""What the chain of generations says stands, and what breaks it: from made-up generations, without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unlearning import digests, files
from unlearning.errors import EvidenceError
from unlearning.evidence import history
from unlearning.workspace import Workspace

NAME = "digits"


def served(version: int, batch: str = "b0", **more: Any) -> dict[str, Any]:
    told = {"version": version, "batch": batch, "checkpoint": f"versions/{version}", "sha256": f"{version}" * 64}
    return {**told, "certificate_sha256": "c" * 64 if version else None, **more}


BASE = served(0)
FIRST = served(1, "b1")
SECOND = served(2, "b2")
BACK = served(3, "b1", rollback_of=1, reason="worse_pictures")
AGAIN = served(4, "b2")


def chain(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for row in rows:
        before = digests.of_bytes(files.canonical(lines[-1])) if lines else None
        lines.append({**row, "before": before})
    return lines


def champion(now: dict[str, Any], previous: dict[str, Any] | None) -> dict[str, Any]:
    return {**now, "previous": previous}


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def put(place: Workspace, *rows: dict[str, Any]) -> Path:
    path = history.file(place, NAME)
    files.write_bytes(path, b"".join(files.canonical(row) + b"\n" for row in chain(*rows)))
    return path


def test_nothing_served_is_no_history(place: Workspace) -> None:
    assert history.read(place, NAME) == history.known(place, NAME, None) == history.follow(place, NAME, None) == []
    assert not history.file(place, NAME).exists()


def test_a_history_without_its_champion_is_refused(place: Workspace) -> None:
    path = put(place, BASE, FIRST, SECOND)
    assert path == place.model(NAME) / "history.jsonl"
    with pytest.raises(EvidenceError) as caught:
        history.known(place, NAME, None)
    assert str(caught.value) == (
        f"{path}: says that version 2 is served, but there is no champion.json; restore it before promoting anything"
    )


def test_it_begins_with_what_is_known_and_is_written_once(place: Workspace) -> None:
    assert history.known(place, NAME, champion(BASE, None)) == chain(BASE)
    lines = history.follow(place, NAME, champion(FIRST, BASE))
    assert lines == chain(BASE, FIRST) == history.read(place, NAME)
    path = history.file(place, NAME)
    before = path.stat()
    assert history.follow(place, NAME, champion(FIRST, BASE)) == lines
    assert path.stat() == before
    assert history.known(place, NAME, champion(SECOND, FIRST)) == chain(BASE, FIRST, SECOND)
    assert history.read(place, NAME) == lines  # `known` wrote nothing
    assert history.follow(place, NAME, champion(SECOND, FIRST)) == history.read(place, NAME)
    assert history.known(place, NAME, champion(SECOND, FIRST), chain(BASE, FIRST)) == chain(BASE, FIRST, SECOND)


def test_a_history_that_says_otherwise_than_the_champion_is_refused(place: Workspace) -> None:
    lines = chain(BASE, FIRST, SECOND)
    assert history.known(place, NAME, champion(SECOND, FIRST), lines) == lines  # those handed over, not read
    put(place, BASE, FIRST, SECOND)
    assert history.known(place, NAME, champion(SECOND, FIRST)) == lines
    told = r"its last line, version 2, is not what champion\.json says of version"
    for other in (served(2, "b9"), FIRST, BASE):
        with pytest.raises(EvidenceError, match=told):
            history.known(place, NAME, champion(other, None))
    with pytest.raises(EvidenceError, match="its last line, version 1, is not"):  # of those handed over
        history.known(place, NAME, champion(BASE, None), lines[:2])


def test_of_a_version_its_line_or_none() -> None:
    lines = chain(BASE, FIRST)
    assert history.of_version(lines, 1) == lines[1]
    assert history.of_version(lines, 2) is None


def test_a_rollback_leaves_standing_what_stood_in_what_it_restored() -> None:
    lines = chain(BASE, FIRST, SECOND, BACK, AGAIN)
    assert [history.in_effect(lines, version) for version in range(6)] == [
        (),
        ("b1",),
        ("b1", "b2"),
        ("b1",),
        ("b1", "b2"),
        (),
    ]
    assert history.in_effect(lines) == ("b1", "b2")
    assert history.in_effect([]) == ()
    assert history.in_effect(chain(BASE, FIRST, SECOND, served(3, "b1"))) == ("b2", "b1")
    assert history.in_effect(chain(BASE, FIRST, served(2, "b1", rollback_of=7))) == ()


def test_what_was_undone_and_why() -> None:
    undone = chain(BASE, FIRST, SECOND, BACK)
    assert history.undone(undone) == ("b2",)
    assert history.why_undone(undone, "b2") == "worse_pictures"
    assert history.why_undone(undone, "b1") is None
    assert history.undone(chain(BASE, FIRST, SECOND, BACK, AGAIN)) == ()
    base = served(3, "b0", certificate_sha256=None, rollback_of=0, reason="all")
    assert history.undone(chain(BASE, FIRST, SECOND, base)) == ("b1", "b2")
    assert (
        history.why_undone(chain(BASE, FIRST, SECOND, BACK, AGAIN), "b2") == "worse_pictures"
    )  # forgotten again since
    to_base = served(2, "b0", certificate_sha256=None, rollback_of=0, reason="all")
    assert history.why_undone(chain(BASE, FIRST, to_base, served(3, "b3")), "b1") == "all"
    assert history.why_undone(chain(FIRST, to_base), "b1") == "all"
    twice = chain(BASE, FIRST, SECOND, BACK, AGAIN, served(5, "b1", rollback_of=3, reason="once more"))
    assert history.why_undone(twice, "b2") == "once more"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda lines: [b"{", *lines[1:]], "line 1: not a line of a history (/"),
        (lambda lines: [lines[0], b"[]"], "line 2: not a line of a history; restore"),
        (
            lambda lines: [lines[0], json.dumps(json.loads(lines[1])).encode()],
            "line 2: not a line of a history; restore",
        ),
        (lambda lines: lines[1:], "line 1: does not follow the line before it; restore the file, it is append-only"),
        (lambda lines: [lines[0], lines[2]], "line 2: does not follow the line before it"),
        (lambda lines: [*lines, lines[0]], "line 4: does not follow the line before it"),
    ],
)
def test_a_line_that_was_changed_is_named(place: Workspace, change: Any, why: str) -> None:
    path = put(place, BASE, FIRST, SECOND)
    path.write_bytes(b"".join(line + b"\n" for line in change(path.read_bytes().splitlines())))
    with pytest.raises(EvidenceError) as caught:
        history.read(place, NAME)
    assert str(caught.value).startswith(f"{path}, {why}")


@pytest.mark.parametrize("name", ["version", "checkpoint", "sha256", "batch", "certificate_sha256"])
def test_a_line_says_everything(place: Workspace, name: str) -> None:
    put(place, {key: value for key, value in BASE.items() if key != name})
    with pytest.raises(EvidenceError, match="line 1: not a line of a history; restore"):
        history.read(place, NAME)


@pytest.mark.parametrize("version", [1, 0])
def test_versions_only_grow(place: Workspace, version: int) -> None:
    put(place, BASE, FIRST, served(version, "b2"))
    with pytest.raises(EvidenceError, match="line 3: does not follow"):
        history.read(place, NAME)
