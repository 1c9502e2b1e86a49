"""From a picture, a request or a hash to everything in which it ever stood, and back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.evidence.served import NAME
from tests.toy_batch import request_id
from unlearning import digests
from unlearning.__main__ import main
from unlearning.data import manifest
from unlearning.errors import DataError
from unlearning.evidence import history, lineage
from unlearning.params import Params
from unlearning.verbs import rollback, trace
from unlearning.workspace import Workspace


def _row(workspace: Workspace, batch: str, split: str) -> dict[str, str]:
    rows = manifest.only(manifest.read(workspace.batch(batch).forget), split).to_pylist()
    return rows[0]  # type: ignore[no-any-return]


def test_a_forgotten_picture_is_found_in_every_batch_and_version(workspace: Workspace) -> None:
    row = _row(workspace, "b1", "train")
    found = trace.run(row["key"], workspace)
    assert (found["kind"], [one["key"] for one in found["images"]]) == ("sample", [row["key"]])
    (asked,) = found["requests"]
    assert (asked["request_id"], asked["tasks"]) == (
        request_id(1),
        [{"model": NAME, "attempt": 1, "batch": "b1", "state": "promoted"}],
    )
    first, second = found["batches"]
    assert (first["batch"], first["roles"]) == ("b1", {"forget": 1})
    assert (second["batch"], second["roles"]) == ("b2", {"earlier": 1})
    knows = {(one["batch"], each["role"]): each["knows"] for one in found["batches"] for each in one["checkpoints"]}
    assert knows["b1", "original"] == "learnt it"
    assert knows["b1", "unlearned"] == "was made to forget it"
    assert knows["b2", "original"] == "had been made to forget it by an earlier batch"
    assert knows["b2", "reference"] == "was trained without it"
    assert first["certificate"]["sha256"] == digests.of_file(workspace.batch("b1").certificate)
    forgotten = {one["version"]: one["forgotten_by"] for one in found["served"]}
    assert forgotten == {0: [], 1: ["b1"], 2: ["b1"]}


def test_its_bytes_and_its_pixels_lead_to_the_same(workspace: Workspace) -> None:
    row = _row(workspace, "b1", "train")
    by_key, *others = (trace.run(row[name], workspace) for name in ("key", "sha256", "pixel_sha256"))
    for other in others:
        assert {**other, "asked": None} == {**by_key, "asked": None}


def test_what_is_stored_no_longer_is_traced_by_the_manifests(workspace: Workspace) -> None:
    row = _row(workspace, "b1", "train")
    before = trace.run(row["key"], workspace)
    shutil.rmtree(workspace.root / "data")
    after = trace.run(row["pixel_sha256"], workspace)
    assert [one.pop("stored") for one in (*before["images"], *after["images"])] == [True, False]
    assert {**after, "asked": None} == {**before, "asked": None}


def test_what_was_kept_or_never_learnt_is_told_apart(workspace: Workspace) -> None:
    kept = manifest.read(workspace.batch("b2").retain)["key"][0].as_py()
    found = trace.run(kept, workspace)
    (last,) = [one for one in found["batches"] if one["batch"] == "b2"]
    assert last["roles"] == {"retain": 1}
    assert last["checkpoints"][0]["knows"] == "learnt it"
    assert found["requests"] == []
    held_out = _row(workspace, "b1", "holdout")["key"]
    first = trace.run(held_out, workspace)["batches"][0]
    assert {one["role"]: one["knows"] for one in first["checkpoints"]} == {
        "original": "never saw it in training",
        "reference": "never saw it in training",
        "unlearned": "was made to forget it",
    }


def test_a_request_leads_to_its_tasks_and_to_the_versions_that_forgot_it(workspace: Workspace) -> None:
    rollback.run(NAME, 1, workspace, "worse_quality")
    found = trace.run(request_id(2), workspace)
    assert found["kind"] == "request"
    assert [task["state"] for task in found["requests"][0]["tasks"]] == ["rolled_back"]
    assert found["batches"][0]["roles"] == {"forget": len(manifest.read(workspace.batch("b2").forget))}
    assert {one["version"]: one["forgotten_by"] for one in found["served"]} == {0: [], 1: [], 2: ["b2"], 3: []}


@pytest.mark.parametrize("what", ["checkpoint", "certificate", "weights"])
def test_from_a_hash_back_to_its_batch_and_inputs(workspace: Workspace, what: str) -> None:
    batch = workspace.batch("b2")
    record = lineage.read(batch, "unlearned_checkpoint")
    sha256 = {
        "checkpoint": record.sha256,
        "certificate": digests.of_file(batch.certificate),
        "weights": record.outputs[0].sha256,
    }[what]
    for asked in (sha256, sha256[:12]):
        found = trace.run(asked, workspace)
        (one,) = found["batches"]
        assert (found["kind"], one["batch"], one["requests"]) == ("artefact", "b2", 1)
        named = one["named"][0]
        wanted = lineage.read(batch, "certificate" if what == "certificate" else "unlearned_checkpoint")
        assert (named["asset"], named["inputs"]) == (wanted.asset, wanted.inputs)
        assert [each["version"] for each in found["served"]] == ([] if what == "weights" else [2])


def test_a_served_version_is_found_by_its_checkpoint(workspace: Workspace) -> None:
    base = history.read(workspace, NAME)[0]
    assert [one["version"] for one in trace.run(base["sha256"], workspace)["served"]] == [0]


def test_the_runs_come_from_the_lineage_events(workspace: Workspace) -> None:
    path = workspace.root / "openlineage" / "events.jsonl"
    path.parent.mkdir()
    facet = {"batch": "b1", "orchestrator_run_id": "run-7"}
    path.write_text(json.dumps({"run": {"facets": {"unlearning": facet}}}) + '\n{"torn": "b1"\n"b1"\n')
    found = trace.run(request_id(1), workspace)
    assert found["batches"][0]["runs"] == ["run-7"]


def test_what_is_called_nothing_here_is_said_so(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="is no sample key, request id"):
        trace.run("ab" * 32, workspace)
    assert main(["trace", "no-such", "--root", str(workspace.root)]) == 2
    assert "'no-such' is no sample key" in capsys.readouterr().err


def test_the_command_says_it_to_people_and_to_programs(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    key = _row(workspace, "b1", "train")["key"]
    assert main(["trace", key, "--root", str(workspace.root)]) == 0
    text = capsys.readouterr().out
    assert "original checkpoint" in text
    assert "had been made to forget it by an earlier batch" in text
    assert f"{NAME} version 2" in text
    assert main(["trace", key, "--json", "--root", str(workspace.root)]) == 0
    assert json.loads(capsys.readouterr().out) == trace.run(key, workspace)
    assert main(["rollback", NAME, "--to", "1", "--because", "worse_quality", "--root", str(workspace.root)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["version"], said["rollback_of"], said["pending_again"], said["undone"]) == (3, 1, 1, ["b2"])
    assert main(["rollback", "../x", "--to", "1", "--because", "abc", "--root", str(workspace.root)]) == 2


def test_neither_needs_torch(workspace: Workspace, params: Params) -> None:
    program = (
        "import sys; from unlearning.__main__ import main; "
        f"code = main(['trace', '{request_id(1)}', '--root', '{workspace.root}']); "
        "import unlearning.verbs.rollback; sys.exit(code or int('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
