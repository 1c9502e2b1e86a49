"""A flood of requests from one controller, and whether any answer says what is stored. Counted work, not the clock.

Work is counted in statements that the ledger's database is asked to run: it is the same on every machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import Engine, event

from pipelines.intake.app import create_app
from tests.security.request_doors import REPOSITORY, Row, row
from tests.toy_batch import png, request_body, request_id, toy_params, toy_workspace
from unlearning import digests, files
from unlearning.data import index, manifest
from unlearning.log import silent
from unlearning.requests import schema, tokens
from unlearning.requests.ledger import Ledger
from unlearning.requests.schema import Filed
from unlearning.verbs import resolve, seal
from unlearning.workspace import Workspace

FLOOD, AT_ONCE, MAX_BATCH = 100_000, 1_000, 1_000
_STORED, _UNKNOWN = request_id(1), request_id(2)


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement that any database is asked meanwhile, without its values."""
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def rows(home: Path, flood: int = FLOOD, at_once: int = AT_ONCE) -> list[Row]:
    """Every attack of this module."""
    behind = _behind(home / "behind", min(flood, MAX_BATCH))
    return [_flood(home / "flood", flood, at_once), behind, *_oracle(home / "oracle")]


def _flood(home: Path, flood: int, at_once: int) -> Row:
    """What nobody stored, asked for again and again by one controller."""
    ledger, work, seconds = Ledger(Workspace(home).ledger), list[int](), list[float]()
    for number in (flood + 1, flood + 2):  # the first two calls make the tables, and look at them
        ledger.take([_unknown(number)], "warm-up")
    for start in range(0, flood, at_once):
        filed = [_unknown(number) for number in range(start, start + at_once)]
        began = time.perf_counter()
        with statements() as asked:
            ledger.take(filed, "flood")
        seconds.append(time.perf_counter() - began)
        work.append(len(asked))
    cost = f"first and last {at_once}: {work[0]} and {work[-1]} statements, {seconds[0]:.2f} and {seconds[-1]:.2f} s"
    taken = "nothing: no quota; each is not_found in its batch"
    return {**row("a flood of one controller", flood, flood, taken, cost), "work": [work[0], work[-1]]}


def _behind(home: Path, flood: int) -> Row:
    """A fair request that comes after another's flood: in one batch with all of it, and where batches are bounded."""
    space, params = toy_workspace(home), toy_params(REPOSITORY)
    ledger, batch = Ledger(space.ledger), space.batch("b1")
    ledger.take([_unknown(number) for number in range(flood)], "flood")
    fair = request_body(
        controller_id="another", request_id=request_id(flood), selectors=[{"sample_key": _first_key(space)}]
    )
    ledger.take([schema.parse(json.dumps(fair), "here")], "cli")
    bounded = ledger.pending(params.model.name, "toys", most=2)
    waits = all(one.request_id != request_id(flood) for one in bounded)
    began = time.perf_counter()
    seal.run(params, batch, silent)
    resolve.run(params, batch, silent)
    took, (state,) = time.perf_counter() - began, {one.state for one in ledger.find(request_id(flood))}
    cost = f"sealed and resolved in {took:.1f} s, {len(manifest.read(batch.forget))} image forgotten"
    cost += f"; with max_batch 2 it {'waits for the next batch' if waits else 'joins the first, too'}"
    return row(f"a fair request behind {flood}", 1, int(state == "scheduled"), "nothing: legitimate", cost)


def _unknown(number: int) -> Filed:
    body = request_body(request_id=request_id(number), selectors=[{"sample_key": f"none-{number}"}])
    return schema.parse(json.dumps(body), "flood")


def _first_key(space: Workspace) -> str:
    key: str = index.read(space.dataset("toys"))["key"][0].as_py()
    return key


def _oracle(home: Path) -> list[Row]:
    """The same calls about a stored and about an unknown picture, as its controller, as another's, as nobody."""
    space, params = toy_workspace(home), toy_params(REPOSITORY)
    mine, other = (tokens.add(space, name, False) for name in ("shop-1", "shop-2"))
    with TestClient(create_app(space), raise_server_exceptions=False) as door:
        _asked(door, request_id(3), (mine, other))  # the first call of all makes the tables
        asked = {number: _asked(door, number, (mine, other)) for number in (_STORED, _UNKNOWN)}
        differ = sum(one != two for one, two in zip(*asked.values(), strict=True))
        pictures = [_shown(door, token, content) for token in (mine, other, None) for content in _pictures()]
        locating = sum(one != two for one, two in zip(pictures[::2], pictures[1::2], strict=True))
        batch = space.batch("b1")
        seal.run(params, batch, silent)
        resolve.run(params, batch, silent)
        after = {_state(door, number, mine) for number in (_STORED, _UNKNOWN)}
        strangers = {_state(door, number, other) for number in (_STORED, _UNKNOWN)}
    calls = len(asked[_STORED])
    owed = "nothing: whoever asks is owed the answer; a token is one controller's" if len(after) == 2 else "all"
    return [
        row("is it stored? before a batch", calls, differ, "answers and counted work are the same", "none"),
        row("is it stored? a picture to locate", len(pictures) // 2, locating, "operators only", "none"),
        row("is it stored? after resolving, its controller", 1, int(len(after) == 2), owed, " or ".join(sorted(after))),
        row("is it stored? after resolving, another's", 1, int(len(strangers) == 2), "404 alike", "none"),
    ]


def _pictures() -> tuple[bytes, bytes]:
    """One that the toys hold, one that they do not."""
    return png(0), png(999_999)


def _asked(door: TestClient, number: str, bearers: tuple[str, str]) -> list[tuple[Any, ...]]:
    """Status, headers, body and statements of every call; what names the request itself is masked."""
    stored, unknown = (digests.of_bytes(one) for one in _pictures())
    sha256 = stored if number == _STORED else unknown
    body = request_body(request_id=number, selectors=[{"content_sha256": sha256}])
    one, wrong = f"/v1/requests/shop-1/{number}", {**body, "kind": "objection"}
    calls: list[Callable[[dict[str, str]], Any]] = [
        lambda who: door.post("/v1/requests", json=body, headers=who),
        lambda who: door.post("/v1/requests", json=body, headers=who),  # again
        lambda who: door.post("/v1/requests", json=wrong, headers=who),
        lambda who: door.post("/v1/requests/bulk", content=json.dumps(body), headers=who),
        lambda who: door.get(one, headers=who),
        lambda who: door.get("/v1/requests", headers=who),
        lambda who: door.post(f"{one}/hold", headers=who),
    ]
    heads = [{"Authorization": f"Bearer {token}"} for token in bearers]
    found = []
    for who in ({}, heads[1], heads[0]):
        for call in calls:
            with statements() as work:
                answer = call(who)
            found.append((answer.status_code, dict(answer.headers), _masked(answer.json(), number), work))
    return found


def _masked(told: Any, number: str) -> str:
    """Without id, digest, sequence numbers and moments: they differ between any two requests."""
    hidden = {"digest", "received_at", "due_at", "at", "seq"}

    def walk(one: Any) -> Any:
        if isinstance(one, dict):
            return {name: "…" if name in hidden else walk(part) for name, part in one.items()}
        return [walk(part) for part in one] if isinstance(one, list) else one

    return files.canonical(walk(told)).decode().replace(number, "…")


def _shown(door: TestClient, token: str | None, content: bytes) -> tuple[Any, ...]:
    who = {} if token is None else {"Authorization": f"Bearer {token}"}
    answer = door.post("/v1/locate", params={"dataset": "toys"}, content=content, headers=who)
    return answer.status_code, answer.text


def _state(door: TestClient, number: str, token: str) -> str:
    """Of a request; of one that the caller does not know, the status of the refusal."""
    told = door.get(f"/v1/requests/shop-1/{number}", headers={"Authorization": f"Bearer {token}"}).json()
    return str(told.get("state", told.get("status")))
