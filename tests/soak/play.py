"""Week after week: people ask, the daemon looks, runs are killed, somebody is on call."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pyarrow.parquet as pq

from pipelines import home as dagster_home
from pipelines.resources.workbench import Launch
from tests.soak import ending, table
from tests.soak.clock import Clock
from tests.soak.crowd import POISON_IN, Crowd, Letter, as_lines
from tests.soak.daemon import Daemon, Ran
from tests.soak.home import DATA, LINE, MODEL, Home
from tests.soak.table import Played
from unlearning import files
from unlearning.errors import StorageError
from unlearning.evidence import promotion, purge
from unlearning.log import silent
from unlearning.process import machine
from unlearning.requests import batch_keys
from unlearning.verbs import _ledger, ingest
from unlearning.workspace import Workspace

FIRST = datetime(2027, 1, 4, 2, tzinfo=UTC)  # a Monday
REFUSED_IN, OUTAGE_IN, ROLLBACK_IN = 3, 4, 5
PURGED_ALONE_IN = 3  # MLflow is away when that week's batches are purged
_NOBODY = {"UNLEARNING_MLFLOW_URI": "http://127.0.0.1:9", "UNLEARNING_MLFLOW_TIMEOUT_S": "1"}
KILLED_IN = (
    "reference_checkpoint",
    "forget_manifest",
    "unlearned_checkpoint",
    "evaluation_report",
    "original_checkpoint",
    "deletion_requests",  # of a batch that is refused soon after
    "retain_proxy_set",
    "deletion_plan",
)


@dataclass(slots=True)
class Soak:
    """Everything that is at hand."""

    home: Home
    daemon: Daemon
    clock: Clock
    crowd: Crowd
    client: httpx.Client
    clean: Workspace  # the same images, below a root that nothing was ever asked of
    weeks: int
    accepted: set[str] = field(default_factory=set)  # request ids that a door took
    conflicts: int = 0
    late: set[str] = field(default_factory=set)  # ids that were overdue when the deadline sensor had looked

    def play(self, number: int) -> Played:
        """Friday and Saturday before the tick, the tick, what came of it, and the purges of the day after."""
        played, began = Played(number), time.monotonic()
        tick, week = FIRST + timedelta(weeks=number - 1), self.crowd.week(number)
        self.clock.move(tick - timedelta(days=3))
        self._purge(played)
        for asked in self._look("seal_early"):
            played.batches.append(self._made(asked, number, (), ()))
        self.clock.move(tick - timedelta(days=2))
        self._act(week.letters, week.changes, played)
        if number == REFUSED_IN:  # somebody tries thresholds that nothing can meet, on this batch alone
            impossible = {"gates.retention_at_least.value": 9.0}
            Launch(self.home.params, impossible).pin(self.home.workspace, batch_keys.of_tick(LINE, tick))
        self.clock.move(tick + timedelta(minutes=1))
        asked_for = self.daemon.tick(tick)
        assert self.daemon.tick(tick) == []  # the daemon was started again
        for place, asked in enumerate(asked_for):
            kills = [KILLED_IN[(number - 1) % len(KILLED_IN)]] if place == 0 else []
            played.batches.append(self._made(asked, number, kills, () if place else week.meanwhile, played))
        if number == ROLLBACK_IN and self.weeks >= ROLLBACK_IN:
            played.rolled_back_to = self._roll_back()
        if number == POISON_IN:
            self._change("DELETE", self.crowd.poison)  # who is on call has read the refusal
        self._look("mlflow_outbox")
        self.clock.move(tick + timedelta(days=1))
        self._purge(played, killed=True, away=number == PURGED_ALONE_IN)
        return self._counted(played, began)

    def rest(self, number: int) -> Played:
        """A week in which nobody comes: the days of grace of the last batches end."""
        played, began = Played(number), time.monotonic()
        for days in (9, 10, 11):  # a batch may wait for one that shares its images: the sensor asks once a day
            self.clock.move(FIRST + timedelta(weeks=number - 2, days=days))
            self._purge(played)
        return self._counted(played, began)

    def _purge(self, played: Played, killed: bool = False, away: bool = False) -> None:
        """Whatever the sensor asks for, one after the other."""
        for place, asked in enumerate(self._look("purges")):
            ran = self.daemon.purge(asked, killed and place == 0, **(_NOBODY if away else {}))
            played.purges.append({**asdict(ran), **self._cleared(ran)})

    def _cleared(self, ran: Ran) -> dict[str, Any]:
        """What its record says."""
        said = purge.read(self.home.workspace.batch(ran.key))
        if said is None:
            return {"status": "refused", "removed": 0, "remaining": 0, "scanned": 0}
        removed, remaining = (sum(getattr(one, name) for one in said.locations) for name in ("removed", "remaining"))
        return {"status": said.status, "removed": removed, "remaining": remaining, "scanned": said.scan.files}

    def _act(self, letters: Sequence[Letter], changes: Sequence[Any], played: Played) -> None:
        for number, letter in enumerate(letters):
            self._send(letter, f"week-{played.week}-{number}", played)
        self._take_in(letters, played)
        for change in changes:
            path = {"cancel": "", "hold": "/hold", "release": "/release"}[change.what]
            self._change("DELETE" if change.what == "cancel" else "POST", change.body, path)

    def _send(self, letter: Letter, name: str, played: Played) -> None:
        if letter.door == "inbox":
            inbox = self.home.workspace.root / "inbox"
            inbox.mkdir(parents=True, exist_ok=True)
            (inbox / f"{name}.jsonl").write_bytes(as_lines(letter))
            return
        for body in letter.bodies:
            status = self.client.post("/v1/requests", json=body).status_code
            played.answers[str(status)] = played.answers.get(str(status), 0) + 1
            assert (status == 409) == letter.conflicting, (status, letter)
            if status == 201:
                self.accepted.add(body["request_id"])
                played.requests_in += 1

    def _take_in(self, letters: Sequence[Letter], played: Played) -> None:
        """The inbox sensor; what it took and refused is compared with what was left there."""
        self._look("inbox")
        ours = [letter for letter in letters if letter.door == "inbox"]
        fresh = {body["request_id"] for one in ours if not one.conflicting for body in one.bodies} - self.accepted
        refused = sum(letter.conflicting for letter in ours)
        wanted = f"{len(ours) - refused} files, {len(fresh)} new requests,"
        said = self.daemon.said[-1]
        assert said.startswith(wanted), (said, wanted)
        assert f", {refused} files refused" in said, (said, refused)
        self.accepted |= fresh
        played.requests_in += len(fresh)
        played.files_refused += refused

    def _change(self, method: str, body: Mapping[str, Any] | None, path: str = "") -> None:
        assert body is not None
        address = f"/v1/requests/{body['controller_id']}/{body['request_id']}{path}"
        answer = self.client.request(method, address)
        assert answer.status_code == 200, answer.text

    def _made(
        self,
        asked: dg.RunRequest,
        number: int,
        kills: Sequence[str],
        letters: Sequence[Letter],
        played: Played | None = None,
    ) -> dict[str, Any]:
        def meanwhile() -> None:
            for place, letter in enumerate(letters):
                self._send(letter, f"meanwhile-{number}-{place}", played or Played(number))
            if letters:
                self._take_in(letters, played or Played(number))

        ran = self.daemon.make(asked, kills, meanwhile, **(_NOBODY if number == OUTAGE_IN else {}))
        return {**asdict(ran), **self._outcome(ran)}

    def _outcome(self, ran: Ran) -> dict[str, Any]:
        """What lies there now."""
        batch = self.home.workspace.batch(ran.key)
        sealed = files.read_json(batch.requests.with_name("batch.json"))
        said: dict[str, Any] = {"requests": sealed["count"], "attempts": sealed["attempts"]}
        try:
            plan = files.read_json(batch.asset("deletion_plan") / "plan.json")
            said |= {"verdict": files.read_json(batch.certificate)["status"], "rule": plan["rule"]}
            scores = files.read_json(batch.report)["scores"]
            said["scores"] = {name: one["value"] for name, one in scores.items() if one}
        except StorageError:
            said |= {"verdict": "no input", "rule": None}
        now = promotion.champion(self.home.workspace, MODEL)
        return {**said, "champion": None if now is None else now.version}

    def _roll_back(self) -> int:
        """To the version before, as a job."""
        now = promotion.champion(self.home.workspace, MODEL)
        assert now is not None
        to = now.version - 1
        config = {"model": MODEL, "to_version": to, "expected": now.version, "reason": "worse_quality"}
        told = {"config": {"ops": {"serve_earlier_version": {"config": config}}}}
        assert self.daemon.start("roll_back", told).wait() == 0
        return to

    def _look(self, name: str) -> list[dg.RunRequest]:
        """One sensor; before it, as the daemon does, those that only watch."""
        self.daemon.look("deadlines")
        ledger, now = _ledger.of(self.home.workspace), self.clock.now()
        self.late |= {
            one.entry.request_id for one in ledger.due(now) if datetime.fromisoformat(one.entry.due_at) <= now
        }
        return self.daemon.look(f"{LINE}_{name}" if name in ("seal_early", "purges") else name)

    def _counted(self, played: Played, began: float) -> Played:
        now, counts = promotion.champion(self.home.workspace, MODEL), _ledger.of(self.home.workspace).counts()
        played.champion = None if now is None else now.version
        played.settled = sum(counts.get(state, 0) for state in ending.SETTLED)
        played.waiting = sum(counts.values()) - played.settled
        played.seconds = round(time.monotonic() - began, 1)
        return played


def play(home: Home, weeks: int, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """The whole of it, from an empty folder; what the JSON holds."""
    began = time.monotonic()
    home.furnish(batch_keys.of_tick(LINE, FIRST))
    ingest.run("digits", DATA, home.workspace, silent, "class")
    rows = pq.read_table(home.workspace.dataset(DATA) / "index.parquet").to_pylist()
    crowd = Crowd(seed, [row for row in rows if row["split"] == "train"], weeks)
    clock = Clock(home.workspace.root)
    clock.move(FIRST - timedelta(days=4))
    clock.keep()
    dagster_home.prepare(home.workspace.root)
    say(table.HEAD)
    with dg.DagsterInstance.get() as instance, _door(home) as client, tempfile.TemporaryDirectory() as beside:
        clean = Workspace(Path(beside))
        ingest.run("digits", DATA, clean, silent, "class")
        daemon = Daemon(home, instance, random.Random())
        soak = Soak(home, daemon, clock, crowd, client, clean, weeks)
        told = []
        for number in range(1, weeks + 2):
            told.append(played := soak.play(number) if number <= weeks else soak.rest(number))
            for line in table.rows(played):
                say(line)
        checks = ending.checks(soak, told)
    return {
        "schema": "soak/1",
        "weeks": [asdict(one) for one in told],
        "requests": len(soak.accepted),
        "kills": sum(len(batch["killed_in"]) for one in told for batch in one.batches),
        "overdue_and_told": len(soak.late),
        "seed": seed,
        "toy": home.toy,
        "checks": checks,
        "seconds": round(time.monotonic() - began, 1),
        "machine": machine(),
    }


@contextmanager
def _door(home: Home) -> Iterator[httpx.Client]:
    """The HTTP intake, in a process of its own."""
    words = [sys.executable, "-m", "tests.soak.door", "--port", "0"]
    with (home.path / "door.log").open("wb") as log:
        port = _free_port()
        words[-1] = str(port)
        server = subprocess.Popen(words, cwd=home.path, env=home.env, stdout=log, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                _await(client, server)
                yield client
        finally:
            server.terminate()
            server.wait()


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _await(client: httpx.Client, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            if client.get("/healthz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError("the intake ended before it answered; door.log says why")
