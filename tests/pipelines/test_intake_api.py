"""The HTTP door: what it takes, what it refuses, and that it never says back what it was told."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import intake_api
from pipelines.intake import page
from pipelines.intake.app import create_app
from tests.toy_batch import png, request_body, request_id, toy_workspace
from unlearning.requests import tokens
from unlearning.requests.ledger import Ledger
from unlearning.requests.schema import MAX_BODY
from unlearning.workspace import Workspace

ONE = f"/v1/requests/shop-1/{request_id(1)}"


def _body(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {**request_body(request_id=request_id(number)), **changes}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "var")


@pytest.fixture
def door(workspace: Workspace) -> Iterator[TestClient]:
    """Open, as on one's own machine."""
    with TestClient(create_app(workspace, open_door=True), raise_server_exceptions=False) as client:
        yield client


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _refused(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    return str(said["detail"])


def test_a_request_is_filed_once_and_its_receipt_stays_the_same(door: TestClient, workspace: Workspace) -> None:
    first, again = (door.post("/v1/requests", json=_body()) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["state"] == "verified"
    assert first.json()["due_at"] > first.json()["received_at"]
    assert len(Ledger(workspace.ledger).entries()) == 1


def test_the_same_id_with_another_body_is_a_conflict(door: TestClient, workspace: Workspace) -> None:
    door.post("/v1/requests", json=_body())
    assert "another body" in _refused(door.post("/v1/requests", json=_body(kind="objection")), 409)
    many = "\n".join(json.dumps(one) for one in (_body(2), _body(kind="objection")))
    _refused(door.post("/v1/requests/bulk", content=many), 409)
    assert [entry.request_id for entry in Ledger(workspace.ledger).entries()] == [request_id(1)]


def test_many_at_once_are_all_or_none(door: TestClient, workspace: Workspace) -> None:
    lines = [json.dumps(_body(number)) for number in range(1, 6)]
    assert door.post("/v1/requests/bulk", content="\n".join(lines[:3])).json()["filed"] == 3
    said = door.post("/v1/requests/bulk", content="\n".join(lines)).json()
    assert (said["filed"], said["known"], len(said["receipts"])) == (2, 3, 5)
    assert "line 2" in _refused(door.post("/v1/requests/bulk", content=f"{json.dumps(_body(9))}\n{{"), 422)
    _refused(door.post("/v1/requests/bulk", content="\n\n"), 422)
    assert len(Ledger(workspace.ledger).entries()) == 5


def test_one_can_be_looked_at_called_off_held_and_released(door: TestClient) -> None:
    door.post("/v1/requests", json=_body())
    seen = door.get(ONE).json()
    assert seen["state"] == "verified"
    assert [event["new"] for event in seen["events"]] == ["received", "verified"]
    assert door.post(f"{ONE}/hold").json()["state"] == "on_hold"
    assert door.post(f"{ONE}/release").json()["state"] == "verified"
    assert door.delete(ONE).json()["state"] == "cancelled"
    _refused(door.delete(ONE), 409)
    _refused(door.post(f"{ONE}/hold"), 409)
    assert [one["state"] for one in door.get("/v1/requests", params={"state": "cancelled"}).json()] == ["cancelled"]
    assert door.get("/v1/requests", params={"state": "verified"}).json() == []


def test_what_is_too_large_or_no_text_is_refused(door: TestClient) -> None:
    _refused(door.post("/v1/requests", content=b" " * (MAX_BODY + 1)), 413)
    _refused(door.post("/v1/requests", content=b"\xff\xfe"), 422)
    _refused(door.get("/v1/nothing"), 404)
    _refused(door.put("/v1/requests", json=_body()), 405)
    _refused(door.get("/v1/requests", params={"limit": "0"}), 422)


def test_tokens_say_whose_requests_are_whose(workspace: Workspace) -> None:
    ours, theirs = (tokens.add(workspace, name, False) for name in ("shop-1", "shop-2"))
    operator = tokens.add(workspace, "*", True)
    assert tokens.file(workspace).stat().st_mode & 0o777 == 0o600
    assert ours not in tokens.file(workspace).read_text()
    with TestClient(create_app(workspace), raise_server_exceptions=False) as door:
        for wrong in ({}, _bearer("guess"), {"Authorization": f"Basic {ours}"}):
            answer = door.post("/v1/requests", json=_body(), headers=wrong)
            _refused(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        assert door.post("/v1/requests", json=_body(), headers=_bearer(ours)).status_code == 201
        _refused(door.post("/v1/requests", json=_body(2), headers=_bearer(theirs)), 403)
        foreign = door.get(ONE, headers=_bearer(theirs))
        unknown = door.get(f"/v1/requests/shop-2/{request_id(7)}", headers=_bearer(theirs))
        assert _refused(foreign, 404) == _refused(unknown, 404)
        _refused(door.delete(ONE, headers=_bearer(theirs)), 404)
        for path in ("hold", "release"):
            _refused(door.post(f"{ONE}/{path}", headers=_bearer(ours)), 403)
        _refused(door.get("/v1/requests", headers=_bearer(ours)), 403)
        assert len(door.get("/v1/requests", headers=_bearer(operator)).json()) == 1
        assert door.get("/healthz").status_code == 200


def test_nothing_that_was_sent_comes_back_or_is_logged(
    door: TestClient, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    door.post("/v1/requests", json=_body())
    canary = "canary-7f3a9c"
    for field in _body():
        for value in (canary, {canary: 1}, [canary], 12345678987654):
            answer = door.post("/v1/requests", json=_body(2, **{field: value}))
            if answer.status_code != 201:
                assert "7f3a9c" not in answer.text
                assert "12345678987654" not in answer.text
                assert not any("7f3a9c" in word for word in answer.headers.values())
    for body in ({canary: 1}, {**_body(3), canary: canary}, {**_body(3), "selectors": [{canary: "x"}]}, canary):
        assert "7f3a9c" not in _refused(door.post("/v1/requests", json=body), 422)
    assert "7f3a9c" not in _refused(door.get(f"/v1/requests/{canary}/{canary}"), 404)
    assert "7f3a9c" not in _refused(door.get("/v1/requests", params={"limit": canary}), 422)
    said = "".join(capfd.readouterr())
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert "7f3a9c" not in said + " ".join(ours)


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(sorted(_body())) | st.text(), inner)
        ),
        max_leaves=12,
    )
    | st.dictionaries(st.sampled_from(sorted(_body())), st.text() | st.lists(st.text())).map(
        lambda one: {**_body(), **one}
    )
)
def test_whatever_is_sent_is_taken_or_refused_in_words(door: TestClient, tree: Any) -> None:
    answer = door.post("/v1/requests", content=json.dumps(tree))
    assert answer.status_code in (200, 201, 409, 422), answer.text
    if answer.status_code > 201:
        _refused(answer, answer.status_code)


def test_eight_at_once_have_one_effect(workspace: Workspace) -> None:
    app = create_app(workspace, open_door=True)
    with TestClient(app) as door, ThreadPoolExecutor(8) as pool:
        codes = [one.status_code for one in pool.map(lambda _: door.post("/v1/requests", json=_body()), range(8))]
    assert sorted(codes) == [200] * 7 + [201]
    assert len(Ledger(workspace.ledger).entries()) == 1


def test_a_picture_only_locates(tmp_path: Path) -> None:
    workspace = toy_workspace(tmp_path)
    with TestClient(create_app(workspace, open_door=True), raise_server_exceptions=False) as door:
        before = sorted(path.as_posix() for path in workspace.root.rglob("*"))
        found = door.post("/v1/locate", params={"dataset": "toys"}, content=png(0))
        assert found.status_code == 200, found.text
        assert len(found.json()["bytes"]) == 1
        near = door.post("/v1/locate", params={"dataset": "toys", "near": 4}, content=png(0))
        assert near.json() == {**found.json(), "perceptual": near.json()["perceptual"]}
        _refused(door.post("/v1/locate", params={"dataset": "toys", "near": 17}, content=png(0)), 422)
        _refused(door.post("/v1/locate", params={"dataset": "toys"}, content=b"no picture"), 422)
        _refused(door.post("/v1/locate", params={"dataset": "../toys"}, content=png(0)), 422)
        assert sorted(path.as_posix() for path in workspace.root.rglob("*")) == before


def test_counts_and_readiness_name_nobody(door: TestClient, workspace: Workspace) -> None:
    door.post("/v1/requests", json=_body())
    assert door.get("/readyz").status_code == 200
    assert 'unlearning_requests{state="verified"} 1\n' in door.get("/metrics").text
    workspace.ledger.write_bytes(b"not a database, but long enough to be looked at as one" * 40)
    assert "nothing was changed" in _refused(door.get("/readyz"), 503)
    _refused(door.post("/v1/requests", json=_body(2)), 503)


def test_the_description_is_a_page_that_loads_nothing(door: TestClient) -> None:
    tree = door.get("/openapi.json").json()
    assert "sample_key" in json.dumps(tree["components"]["schemas"]["Selector"])
    assert set(tree["paths"]) >= {"/v1/requests", "/v1/requests/bulk", "/v1/requests/{controller_id}/{request_id}"}
    shown = door.get("/docs")
    assert shown.headers["content-security-policy"] == page.POLICY
    assert not re.search(r"<script|src=|https?://", shown.text)
    assert "Call a request off" in shown.text


def test_without_a_token_only_this_machine_is_answered(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert intake_api.main(["--root", str(workspace.root), "--host", "0.0.0.0"]) == 2
    assert "there is no token yet" in capsys.readouterr().err
    assert not workspace.root.exists()
