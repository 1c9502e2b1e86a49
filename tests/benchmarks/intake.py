"""`python -m tests.benchmarks.intake`: how fast requests come in through the inbox and over HTTP.

Every door ends in the same ledger (SQLite, synchronous FULL), in a folder of its own. The HTTP figures hold one client
and one server process on one machine, over the loopback.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.toy_batch import request_body
from unlearning.process import machine
from unlearning.requests.ledger import Ledger
from unlearning.verbs import intake
from unlearning.workspace import Workspace

RESULTS = Path(__file__).with_name("results")


def lines(first: int, count: int) -> bytes:
    """`count` different requests, one a line; a sample key each."""
    found = []
    for number in range(first, first + count):
        selectors = [{"sample_key": f"img-{number:07d}"}]
        body = request_body(request_id=f"{number:08x}-1111-4111-8111-111111111111", selectors=selectors)
        found.append(json.dumps(body))
    return ("\n".join(found) + "\n").encode()


def inbox(home: Path, requests: int, files: int) -> float:
    """Seconds for `requests` in `files` files."""
    workspace = Workspace(home / "var")
    place = workspace.root / "inbox"
    place.mkdir(parents=True)
    each = requests // files
    for number in range(files):
        (place / f"{number:04d}.jsonl").write_bytes(lines(number * each, each))
    taken, seconds = _timed(lambda: intake.take_in(workspace, settle_s=0))
    assert (taken.filed, taken.refused) == (each * files, ())
    assert len(Ledger(workspace.ledger).entries()) == each * files
    return seconds


def http(home: Path, requests: int, bulk: int, singles: int) -> tuple[float, float]:
    """Seconds for `requests` in calls of `bulk`, and for `singles` calls of one request each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "pipelines.intake_api", "--root", str(home / "var"), "--port", str(port)]
    server = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            _await(client)
            many = [lines(start, bulk) for start in range(0, requests, bulk)]
            one = [lines(requests + number, 1) for number in range(singles)]
            _, in_bulk = _timed(
                lambda: [client.post("/v1/requests/bulk", content=part).raise_for_status() for part in many]
            )
            _, alone = _timed(lambda: [client.post("/v1/requests", content=part).raise_for_status() for part in one])
    finally:
        server.terminate()
        server.wait()
    assert len(Ledger(home / "var" / "ledger.sqlite").entries()) == requests + singles
    return in_bulk, alone


def _await(client: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if client.get("/healthz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError("the intake did not answer within 60 s")


def _timed(action: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    found = action()
    return found, time.perf_counter() - start


def main() -> None:
    """Print the figures and keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        by_inbox = inbox(Path(one), options.requests, 100)
        in_bulk, alone = http(Path(two), options.requests, 1_000, 500)
    found = {
        "schema": "benchmark/1",
        "requests": options.requests,
        "inbox_100_files_s": round(by_inbox, 2),
        "http_bulk_of_1000_s": round(in_bulk, 2),
        "http_single_requests_per_s": round(500 / alone, 1),
        "machine": machine(),
    }
    path = RESULTS / "intake-sqlite.json"
    path.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    sys.stdout.write(f"{json.dumps(found)}\nkept in {path.name}\n")


if __name__ == "__main__":
    main()
