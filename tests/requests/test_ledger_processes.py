"""Several processes at one ledger, and kill -9 inside a transaction: exactly once, all or nothing."""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.requests.test_ledger import filed
from tests.toy_batch import request_id
from unlearning.requests.ledger import Ledger

PROCESSES = 8
FORK = multiprocessing.get_context("fork")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "l.sqlite") if request.param == "sqlite" else request.getfixturevalue("postgres_database")


def work(place: str, number: int, ready: Barrier, said: Any) -> None:
    """File six requests that all others file too, and seal one of two batches, at the same moment as all others."""
    ready.wait()
    ledger = Ledger(place)
    receipts = [entry.receipt for entry in ledger.add([filed(n) for n in range(6)], source=f"process-{number}")]
    batch = f"b{number % 2}"
    try:
        sealed = [entry.request_id for entry in ledger.seal(batch, "m", "toys")]
    except Exception as error:
        sealed = [type(error).__name__]
    said.put((batch, sealed, [receipt["received_at"] for receipt in receipts]))


def test_many_processes_file_and_seal_each_request_once(place: str) -> None:
    ready, said = FORK.Barrier(PROCESSES), FORK.Queue()
    workers = [FORK.Process(target=work, args=(place, n, ready, said)) for n in range(PROCESSES)]
    for worker in workers:
        worker.start()
    told = [said.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    ledger = Ledger(place)
    entries = ledger.entries()
    assert [entry.request_id for entry in entries] == [request_id(n) for n in range(6)]
    assert {len(ledger.events(entry)) for entry in entries} == {3}  # received, verified, sealed
    assert {tuple(received) for _, _, received in told} == {(entries[0].received_at,) * 6}
    (winner,) = {entry.batch for entry in entries}  # the first one took all; the other found nothing pending
    every = [request_id(n) for n in range(6)]
    assert all(sealed == (every if batch == winner else ["RequestError"]) for batch, sealed, _ in told)


def stopped(place: str, act: str, told: Connection) -> None:
    """Everything is written, and nothing is kept yet, when this says so; then it waits for its end."""

    def stop(db: Any) -> None:
        if db.get_execution_options()["writes"]:
            told.send("written")
            signal.pause()

    event.listen(Engine, "commit", stop)
    ledger = Ledger(place)
    if act == "add":
        ledger.add([filed(number) for number in range(1, 101)])
    else:
        ledger.seal("b2", "m", "toys")


@pytest.mark.parametrize("act", ["add", "seal"])
def test_a_writer_killed_before_its_end_leaves_nothing_and_blocks_nobody(place: str, act: str) -> None:
    ledger = Ledger(place)
    ledger.add([filed(0)])
    before = ledger.entries()
    here, there = FORK.Pipe(duplex=False)
    writer = FORK.Process(target=stopped, args=(place, act, there))
    writer.start()
    assert here.poll(60)
    assert here.recv() == "written"
    assert ledger.entries() == before  # nobody sees what is not kept
    writer.kill()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    assert ledger.entries() == before
    assert [len(ledger.events(entry)) for entry in before] == [2]
    assert len(ledger.add([filed(number) for number in range(101)])) == 101
    assert len(ledger.seal("b2", "m", "toys")) == 101
