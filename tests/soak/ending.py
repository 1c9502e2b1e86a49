"""What must hold at the end, whatever happened on the way: each a sentence, whether it holds, and what was found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pipelines import outbox
from pipelines.automation import alarms
from pipelines.resources.mlflow import MlflowTracking
from tests.soak import purges
from tests.soak.home import DATA, LINE, MODEL, Home
from unlearning import files
from unlearning.evidence import history, promotion
from unlearning.log import silent
from unlearning.requests import states
from unlearning.stages import STAGES
from unlearning.verbs import _ledger, ingest, verify

if TYPE_CHECKING:
    from tests.soak.play import Played, Soak

SETTLED = tuple(sorted(states.SETTLED))


def checks(soak: Soak, weeks: Sequence[Played]) -> list[dict[str, Any]]:
    """All of them."""
    home = soak.home
    batches = [one for week in weeks for one in week.batches]
    certified = [one["key"] for one in batches if one["verdict"] in ("issued", "refused")]
    wanted: list[tuple[str, Callable[[], str]]] = [
        ("no request was lost, and each ended as it must", lambda: _requests(soak)),
        (
            "the champion is the last promoted batch, and its chain of versions is whole",
            lambda: _champion(home, batches),
        ),
        (f"all {len(certified)} certificates verify", lambda: _certificates(home, certified)),
        ("what earlier batches forgot is still forgotten, in every report", lambda: _earlier(home, batches)),
        ("what was forgotten is kept out of a later ingest", lambda: _tombstones(soak)),
        (
            "every batch whose grace was over is purged, and its requests are completed",
            lambda: purges.complete(home, soak),
        ),
        (
            "no file, object, archive or database holds a copy of a purged image, and a planted one is found",
            lambda: purges.no_copy(home, soak),
        ),
        ("the data set is whole without what was purged", lambda: purges.data_set(home, soak)),
        ("the models that knew what was purged are gone", lambda: purges.weights(home, soak)),
        ("the signed statement of every purge says what its record says", lambda: purges.statements(home, soak)),
        ("batches were promoted after a purge had written the data set anew", lambda: purges.afterwards(home, batches)),
        ("a purge that is killed or cannot reach MLflow is finished", lambda: purges.interrupted(weeks)),
        ("nothing was overdue in silence", lambda: _overdue(soak)),
        ("a week without kill -9 there was none", lambda: _kills(weeks)),
        ("MLflow's alias champion is champion.json, and its outbox is empty", lambda: _mlflow(home)),
        ("OpenLineage has a COMPLETE event of every asset of every batch", lambda: _lineage(home, certified)),
        ("no run says that it works while nobody does", lambda: _runs(soak)),
    ]
    if not home.toy:
        wanted.append(("dvc status is clean for every batch that it keeps", lambda: _dvc(home, certified)))
    return [_looked(what, look) for what, look in wanted]


def _looked(what: str, look: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"what": what, "holds": True, "said": look()}
    except Exception as error:  # whatever it is, the other checks are made too, and it is told
        return {"what": what, "holds": False, "said": f"{type(error).__name__}: {str(error)[:1000]}"}


def _requests(soak: Soak) -> str:
    entries = _ledger.of(soak.home.workspace).entries()
    ended = {entry.request_id: entry.state for entry in entries}
    assert ended.keys() == soak.accepted == soak.crowd.book.keys(), len(ended.keys() ^ soak.crowd.book.keys())
    assert len(ended) == len({(entry.controller_id, entry.request_id) for entry in entries})
    wanted = {name: "completed" if state == "promoted" else state for name, state in soak.crowd.book.items()}
    others = {name: (state, wanted[name]) for name, state in ended.items() if state != wanted[name]}
    too_late = [name for name, one in others.items() if one == ("not_found", "completed")]
    assert len(too_late) == len(others), others
    assert purges.not_found(soak, too_late), too_late
    assert set(ended.values()) <= states.SETTLED
    return f"{len(ended)} in, {len(ended)} settled, {len(too_late)} of them for images that were purged before"


def _champion(home: Home, batches: Sequence[dict[str, Any]]) -> str:
    now = promotion.champion(home.workspace, MODEL)
    assert now is not None
    issued = [one["key"] for one in batches if one["success"]]
    assert now.batch == issued[-1], (now.batch, issued)
    lines = promotion.generations(home.workspace, MODEL)
    assert [line["version"] for line in lines] == list(range(now.version + 1))
    promotion.require_kept(home.workspace, now.checkpoint, now.sha256, now.version)
    undone = history.undone(lines)
    assert set(history.in_effect(lines)) == set(issued) - set(undone), (history.in_effect(lines), issued, undone)
    return f"version {now.version}, {len(lines)} generations, {len(undone)} batches undone"


def _certificates(home: Home, certified: Sequence[str]) -> str:
    for key in certified:
        found = verify.run(home.workspace.batch(key).path)
        assert found.verified, (key, found.mismatches)
    words = [sys.executable, "-m", "unlearning", "verify", str(home.workspace.batch(certified[-1]).path)]
    done = subprocess.run(words, env=home.env, cwd=home.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ""


def _earlier(home: Home, batches: Sequence[dict[str, Any]]) -> str:
    measured = purged = 0
    for one in batches:
        if not one["success"]:
            continue
        report = files.read_json(home.workspace.batch(one["key"]).report)
        told = report.get("earlier", {}).get("batches", [])
        gone = sum("purged" in entry for entry in told)
        found = {row["name"]: row["status"] for row in report["criteria"] if row["name"].startswith("earlier")}
        wanted = {"earlier": len(told) > gone, "earlier_purged": gone > 0}
        assert found == {name: "pass" for name, asked in wanted.items() if asked}, (one["key"], found, wanted)
        measured += len(told) - gone
        purged += gone
    assert len(batches) < 3 or (measured and purged)
    return f"{measured} times measured, {purged} times purged before"


def _tombstones(soak: Soak) -> str:
    import pyarrow.parquet as pq

    home = soak.home
    served = history.in_effect(promotion.generations(home.workspace, MODEL))
    gone = {key for one in served for key in pq.read_table(home.workspace.batch(one).forget)["sha256"].to_pylist()}
    ingest.run("digits", "again", home.workspace, silent, "class")
    again, before = (
        set(pq.read_table(place.dataset(name) / "index.parquet")["sha256"].to_pylist())
        for place, name in ((home.workspace, "again"), (soak.clean, DATA))
    )
    assert gone
    assert not gone & again, len(gone & again)
    assert before - again >= gone
    return f"{len(gone)} images forgotten, none came back; {len(before - again)} kept out"


def _overdue(soak: Soak) -> str:
    path = alarms.file(soak.home.workspace)
    told = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    rung = {one["request_id"] for one in told if one["kind"] == "deadline" and one["level"] >= 1}
    assert soak.late <= rung, len(soak.late - rung)
    return f"{len(soak.late)} were overdue, {sum(one['kind'] == 'deadline' for one in told)} alarms rang"


def _kills(weeks: Sequence[Played]) -> str:
    kills = [sum(len(batch["killed_in"]) for batch in week.batches) for week in weeks[:-1]]  # nobody came in the last
    assert all(kills), kills
    return f"{sum(kills)} kills"


def _mlflow(home: Home) -> str:
    tracking = MlflowTracking().connect(home.workspace.root, lambda line: None)
    assert outbox.waiting(tracking) == []
    now = promotion.champion(home.workspace, MODEL)
    assert now is not None
    known = tracking.ask(
        "soak", "champion", {}, lambda client: client.get_model_version_by_alias(MODEL, "champion").tags["sha256"]
    )
    assert known == now.sha256, (known, now.sha256)
    return ""


def _lineage(home: Home, certified: Sequence[str]) -> str:
    path = home.workspace.root / "openlineage" / "events.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    ended = {out["name"] for one in events if one["eventType"] == "COMPLETE" for out in one["outputs"]}
    wanted = {f"{MODEL}/{key}/{asset}" for key in certified for asset in STAGES}
    assert wanted <= ended, sorted(wanted - ended)[:5]
    return f"{len(events)} events"


def _runs(soak: Soak) -> str:
    open_runs = [run.run_id for run in soak.daemon.instance.get_runs() if not run.is_finished]
    assert open_runs == []
    return f"{soak.daemon.instance.get_runs_count()} runs"


def _dvc(home: Home, certified: Sequence[str]) -> str:
    kept = [
        key for key in certified if not files.read_json(home.workspace.root / "launches" / f"{key}.json")["overrides"]
    ]
    stages = [f"{asset}@{key}" for key in kept for asset in STAGES]
    words = [home.env["UNLEARNING_DVC"], "status", *stages]
    done = subprocess.run(words, cwd=home.path, env=home.env, capture_output=True, text=True)
    assert "Data and pipelines are up to date." in done.stdout, (done.stdout + done.stderr)[-800:]
    return f"{len(kept)} of {len(certified)} batches; {LINE}'s others were made with overrides"
