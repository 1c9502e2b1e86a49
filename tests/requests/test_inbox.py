"""Files that controllers leave: each request in the ledger exactly once, whatever happens to the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.toy_batch import request_body, request_id
from unlearning.errors import RequestError
from unlearning.requests.inbox import Inbox
from unlearning.requests.ledger import Ledger
from unlearning.verbs import intake
from unlearning.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "var")


def _leave(workspace: Workspace, name: str, *bodies: dict[str, Any]) -> Path:
    path = workspace.root / "inbox" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies))
    return path


def _body(number: int, **changes: Any) -> dict[str, Any]:
    return request_body(request_id=request_id(number), **changes)


def _names(workspace: Workspace, folder: str) -> list[str]:
    home = workspace.root / "inbox" / folder
    return sorted(path.name for path in home.iterdir()) if home.is_dir() else []


def test_what_lies_there_is_filed_and_put_away_under_its_hash(workspace: Workspace) -> None:
    _leave(workspace, "jane-doe.jsonl", _body(1), _body(2))
    _leave(workspace, "one.json", _body(3))
    taken = intake.take_in(workspace, settle_s=0)
    assert (taken.filed, taken.known, len(taken.files), taken.refused) == (3, 0, 2, ())
    assert sorted(entry.request_id for entry in Ledger(workspace.ledger).entries()) == [
        request_id(n) for n in (1, 2, 3)
    ]
    assert _names(workspace, "done") == sorted(taken.files)
    assert _names(workspace, "claimed") == []
    everything = " ".join(path.name for path in workspace.root.rglob("*"))
    assert "jane" not in everything


def test_the_same_file_and_the_same_request_have_one_effect(workspace: Workspace) -> None:
    _leave(workspace, "a.jsonl", _body(1), _body(2))
    intake.take_in(workspace, settle_s=0)
    _leave(workspace, "b.jsonl", _body(1), _body(2))
    _leave(workspace, "c.jsonl", _body(2), _body(3))
    taken = intake.take_in(workspace, settle_s=0)
    assert (taken.filed, taken.known) == (1, 3)
    assert len(Ledger(workspace.ledger).entries()) == 3


def test_a_file_with_one_bad_line_is_refused_whole_with_a_sentence(workspace: Workspace) -> None:
    _leave(workspace, "mixed.jsonl", _body(1), {**_body(2), "goal": "jane@example.org"})
    _leave(workspace, "good.jsonl", _body(3))
    taken = intake.take_in(workspace, settle_s=0)
    assert (taken.filed, len(taken.refused)) == (1, 1)
    assert [entry.request_id for entry in Ledger(workspace.ledger).entries()] == [request_id(3)]
    why = (workspace.root / "inbox" / "refused" / f"{taken.refused[0]}.why").read_text()
    assert "line 2" in why
    assert "'goal'" in why
    assert "jane" not in why
    assert str(workspace.root) not in why
    assert (workspace.root / "inbox" / "refused" / taken.refused[0]).is_file()


def test_a_known_id_with_another_body_refuses_its_file(workspace: Workspace) -> None:
    _leave(workspace, "a.json", _body(1))
    intake.take_in(workspace, settle_s=0)
    _leave(workspace, "b.jsonl", _body(4), _body(1, kind="objection"))
    taken = intake.take_in(workspace, settle_s=0)
    assert len(taken.refused) == 1
    assert len(Ledger(workspace.ledger).entries()) == 1


def test_what_may_still_be_written_is_left_and_taken_later(workspace: Workspace) -> None:
    path = _leave(workspace, "slow.json", _body(1))
    _leave(workspace, "slow.jsonl.part", _body(2))
    _leave(workspace, ".hidden.json", _body(3))
    os.utime(path, (path.stat().st_mtime + 3600,) * 2)  # its clock runs ahead of ours
    first = intake.take_in(workspace, settle_s=5)
    assert (first.filed, first.waiting) == (0, 3)
    os.utime(path, (0, 0))
    second = intake.take_in(workspace, settle_s=5)
    assert (second.filed, second.waiting) == (1, 2)


def test_a_link_is_not_followed_and_other_files_are_not_touched(workspace: Workspace, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(_body(1)))
    _leave(workspace, "readme.txt")
    (workspace.root / "inbox" / "link.json").symlink_to(secret)
    assert intake.take_in(workspace, settle_s=0) == intake.Taken()
    assert secret.is_file()
    assert (workspace.root / "inbox" / "link.json").is_symlink()
    assert Ledger(workspace.ledger).entries() == []


def test_a_file_left_claimed_by_a_killed_process_is_taken_up(workspace: Workspace) -> None:
    _leave(workspace, "a.json", _body(1))
    Inbox(str(workspace.root / "inbox")).claim(0)
    assert len(_names(workspace, "claimed")) == 1
    _leave(workspace, "a.json", _body(2))  # another one of the same name
    taken = intake.take_in(workspace, settle_s=0)
    assert taken.filed == 2
    assert _names(workspace, "claimed") == []


def test_what_there_is_no_time_for_waits_for_the_next_look(workspace: Workspace) -> None:
    for number in range(4):
        _leave(workspace, f"{number}.json", _body(number))
    first = intake.take_in(workspace, settle_s=0, within_s=-1)
    assert (first.filed, first.waiting) == (0, 4)
    second = intake.take_in(workspace, settle_s=0)
    assert (second.filed, second.waiting) == (4, 0)


def test_a_bucket_is_an_inbox_too(workspace: Workspace) -> None:
    bucket = fsspec.filesystem("memory")
    bucket.pipe_file("/box/a.jsonl", json.dumps(_body(1)).encode())
    bucket.pipe_file("/box/b.json", b"{")
    taken = intake.take_in(workspace, "memory://box", settle_s=0)
    assert (taken.filed, len(taken.refused)) == (1, 1)
    assert sorted(bucket.find("/box")) == sorted(
        [f"/box/done/{taken.files[0]}", f"/box/refused/{taken.refused[0]}", f"/box/refused/{taken.refused[0]}.why"]
    )
    assert intake.take_in(workspace, "memory://box", settle_s=0) == intake.Taken()


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "file::http://example.org/x", "ftp://x/y", "zip://a::file://b"]
)
def test_only_named_places_are_read(workspace: Workspace, url: str) -> None:
    with pytest.raises(RequestError, match="not a place that requests are read from"):
        intake.take_in(workspace, url)


def test_an_empty_inbox_creates_nothing(workspace: Workspace) -> None:
    assert intake.take_in(workspace) == intake.Taken()
    assert not workspace.ledger.exists()
    assert not (workspace.root / "inbox").exists()
