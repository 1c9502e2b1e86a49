"""`unlearning request …`: filters, holds, extensions, approvals and due dates, JSON out, one sentence on error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.requests.test_ledger import filed
from tests.toy_batch import request_id
from unlearning.__main__ import main
from unlearning.requests.ledger import Ledger

ONE, TWO = request_id(1), request_id(2)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["request", *words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def ledger() -> Ledger:
    """The default one of the working folder, with two requests, the first of them sealed."""
    ledger = Ledger("var/ledger.sqlite")
    ledger.add([filed(1), filed(2)])
    ledger.seal("b1", "m", "toys", most=1)
    return ledger


def test_a_list_is_filtered_and_cut(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["request_id"] for row in said(capsys, "list")] == [ONE, TWO]
    assert [row["request_id"] for row in said(capsys, "list", "--most", "1")] == [ONE]
    for words in (("--state", "resolving"), ("--batch", "b1"), ("--model", "m")):
        assert [row["request_id"] for row in said(capsys, "list", *words)] == [ONE]
    assert main(["request", "list", "--state", "lost"]) == 2
    assert "there is no state 'lost'" in capsys.readouterr().err


def test_what_is_due_is_told_with_who_owes_it(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    rows = said(capsys, "due", "--model", "m")
    assert [(row["batch"], row["owed_by"], row["alarm"]) for row in rows] == [("b1", ["m"], 0.0), (None, ["m"], 0.0)]
    assert all(0 <= row["used_share"] < 0.01 for row in rows)


def test_a_request_is_held_released_extended_approved_and_called_off(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    (held,) = said(capsys, "hold", ONE, "--reason", "litigation")
    assert (held["state"], held["tasks"][0]["state"]) == ("on_hold", "requeued")
    (released,) = said(capsys, "release", ONE)
    assert released["state"] == "verified"
    (extended,) = said(capsys, "extend", ONE, "--reason", "complexity")
    assert extended["due_at"] > released["due_at"]
    approval = ("--what", "near_duplicates", "--digest", "ab" * 32, "--role", "privacy-officer")
    (approved,) = said(capsys, "approve", ONE, *approval)
    assert approved["approved"] == [{"what": "near_duplicates", "digest": "ab" * 32}]
    for action, state, one in (("revoke", "revoked", ONE), ("decline", "rejected", TWO)):
        (row,) = said(capsys, action, one)
        assert row["state"] == state
        assert main(["request", "cancel", one]) == 2
        assert f"it was {state}; it has ended" in capsys.readouterr().err


def test_a_refused_batch_is_left_to_the_next_one(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["request", "requeue", "--batch", "b1"]) == 2
    assert "none of its requests is failed (resolving)" in capsys.readouterr().err
    ledger.close_batch("b1", promoted=False, reason="gates_refused")
    (row,) = said(capsys, "requeue", "--batch", "b1")
    assert (row["request_id"], row["state"]) == (ONE, "requeued")
    assert [entry.request_id for entry in ledger.seal("b2", "m", "toys", most=1)] == [ONE]
    assert main(["request", "requeue", "--batch", "../b1"]) == 2
    assert main(["request", "requeue", "--batch", "b9"]) == 2


def test_a_name_shared_by_two_controllers_must_be_told_apart(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.add([filed(2, controller_id="shop-2")])
    assert main(["request", "hold", TWO]) == 2
    assert "(shop-1, shop-2); name --controller" in capsys.readouterr().err
    assert [row["state"] for row in said(capsys, "hold", TWO, "--controller", "shop-2")] == ["on_hold"]
    assert [row["state"] for row in said(capsys, "show", TWO)] == ["verified", "on_hold"]
