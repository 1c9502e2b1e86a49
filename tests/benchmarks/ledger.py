"""`python -m tests.benchmarks.ledger`: what the ledger costs with many requests, through the command line's own verb.

SQLite with its log synced at every commit; PostgreSQL too where a server is installed (settings of a server that is
thrown away: nothing is synced), on the same machine, by a Unix socket.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.intake import lines
from tests.postgres import running
from unlearning.__main__ import main as unlearning
from unlearning.process import machine
from unlearning.requests.ledger import Ledger

RESULT = Path(__file__).with_name("results") / "ledger-cpu.json"


def main() -> int:
    """Print a table and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "requests.jsonl"
        file.write_bytes(lines(0, options.requests))
        found["sqlite"] = measured(f"{home}/ledger.sqlite", file)
        with running() as server:
            if server is not None:
                found["postgresql"] = measured(server.new_database(), file)
    for database, figures in found.items():
        for what, seconds in figures.items():
            sys.stdout.write(f"{database:<12} {what:<44} {seconds:>9.3f} s\n")
    said = {"machine": machine(), "requests": options.requests, "seconds": found}
    RESULT.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")
    return 0


def measured(place: str, file: Path) -> dict[str, float]:
    """Seconds of each use of a ledger that begins with nothing."""
    os.environ["UNLEARNING_LEDGER_URL"] = place
    ledger, now = Ledger(place), datetime.now(UTC)
    uses: dict[str, Callable[[], object]] = {
        "request add FILE": lambda: _command("request", "add", str(file)),
        "request add FILE, again": lambda: _command("request", "add", str(file)),
        "request list --most 10": lambda: _command("request", "list", "--most", "10"),
        "request list --state scheduled --most 10": lambda: _command(
            "request", "list", "--state", "scheduled", "--most", "10"
        ),
        "request due --most 10": lambda: _command("request", "due", "--most", "10"),
        "ring, nothing new": lambda: ledger.ring(now),
        "seal 1,000": lambda: ledger.seal("first", "m", "toys", most=1_000),
        "advance 1,000": lambda: ledger.advance("first", "scheduled", "manifest_frozen"),
        "seal the rest": lambda: ledger.seal("rest", "m", "toys"),
        "promote the rest": lambda: ledger.close_batch("rest", promoted=True, reason="promoted"),
    }
    return {what: _timed(use) for what, use in uses.items()}


def _command(*words: str) -> None:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        code = unlearning(words)
    assert code == 0, words


def _timed(use: Callable[[], object]) -> float:
    started = time.perf_counter()
    use()
    return round(time.perf_counter() - started, 3)


if __name__ == "__main__":
    sys.exit(main())
