"""The command line: one line for what is wrong, the right exit code, and everything as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.toy_batch import certified, file_requests, png, request_body, request_id, snapshot, toy_workspace
from unlearning import files
from unlearning.__main__ import main
from unlearning.evidence.lineage import Record
from unlearning.params import Params
from unlearning.requests.ledger import Ledger
from unlearning.stages import STAGES
from unlearning.verbs import stage
from unlearning.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return toy_workspace(tmp_path)


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on standard error of a command that ends with exit code 2."""
    capsys.readouterr()
    assert main(words) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    (line,) = [line for line in streams.err.splitlines() if line.startswith("unlearning: ")]
    return line


def arguments(workspace: Workspace, repository: Path, *more: str) -> tuple[str, ...]:
    place = ("--root", str(workspace.root), "--batch", "b1", "--params", str(repository / "params.yaml"))
    return (*place, "--set", "data.name=toys", "--set", "data.channels=3", *more)


def test_a_new_user_ingests_files_and_looks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for n in range(5):
            (tmp_path / "mine" / name / f"{n}.png").write_bytes(png(n + len(name) * 100 * ord(name[0])))
    assert main(["ingest", "mine", "--name", "pets"]) == 0
    assert main(["ingest", "mine", "--name", "pets"]) == 0
    first, again = said(capsys)
    assert (first["images"], first["splits"], first["reused"]) == (10, {"train": 8, "holdout": 2}, False)
    assert again == {**first, "reused": True}
    Path("request.json").write_text(json.dumps(request_body(dataset="pets")))
    assert main(["request", "add", "request.json"]) == 0
    assert main(["request", "list"]) == 0
    assert main(["request", "show", request_body()["request_id"]]) == 0
    added, listed, shown = said(capsys)
    assert added == listed
    assert shown == {**added, "due_rule": "gdpr", "tasks": [], "approved": [], "events": shown["events"]}
    assert [event["new"] for event in shown["events"]] == ["received", "verified"]
    assert Path("var/ledger.sqlite").is_file()


def test_the_demo_requests_are_valid(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted((repository / "infra" / "requests").glob("*.jsonl")):
        assert main(["request", "add", str(path)]) == 0
    assert {row["state"] for row in said(capsys)} == {"verified"}


def test_the_first_stages_say_what_they_made(
    workspace: Workspace, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file_requests(workspace, request_body())
    for verb in ("seal", "resolve", "plan", "retain"):
        assert main([verb, *arguments(workspace, repository)]) == 0
    rows = said(capsys)
    assert [row["asset"] for row in rows] == list(STAGES)[:4]
    assert rows[1]["facts"]["forget"] == 10


def test_every_stage_has_its_command_and_run_makes_them_in_order(
    workspace: Workspace, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []

    def run(name: str, params: Params, *_: object) -> Record:
        made.append(name)
        assert params.unlearn.budget.steps == 8
        return Record(name, "b1", "", "0" * 64, [], {}, "", {}, "")

    monkeypatch.setattr(stage, "run", run)
    words = arguments(workspace, repository, "--set", "unlearn.budget.steps=8")
    for one in STAGES.values():
        assert main([*one.verb, *words]) == 0
    assert main(["run", *words]) == 0
    assert made == [*STAGES, *STAGES]
    assert len(said(capsys)) == 2 * len(STAGES)


BAD_REQUESTS = {
    "an unknown key": (request_body(note="x"), "there is no key 'note'"),
    "an unknown selector": (request_body(selectors=[{"klass": "star"}]), "there is no key 'selectors.0.klass'"),
    "no approval": (request_body(selectors=[{"class": "star"}]), "needs approved_by"),
    "no zone": (request_body(submitted_at="2026-11-01T09:30:00"), "time with a zone"),
    "another body": (request_body(goal="never_seen"), "another body"),
}


@pytest.mark.parametrize("what", sorted(BAD_REQUESTS))
def test_a_bad_request_changes_nothing(workspace: Workspace, capsys: pytest.CaptureFixture[str], what: str) -> None:
    file_requests(workspace, request_body())
    before = snapshot(workspace.root)
    body, sentence = BAD_REQUESTS[what]
    good = request_body(request_id=request_id(2))
    Path("bad.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps(body)}\n")
    line = refused(capsys, "request", "add", "bad.jsonl", "--root", str(workspace.root))
    assert sentence in line
    assert what == "another body" or "bad.jsonl line 2" in line
    assert snapshot(workspace.root) == before


def test_duplicate_json_keys_are_refused(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(workspace.root)
    Path("bad.jsonl").write_text(json.dumps(request_body()).replace('"goal"', '"goal": "never_seen", "goal"'))
    line = refused(capsys, "request", "add", "bad.jsonl", "--root", str(workspace.root))
    assert "key 'goal' stands there twice" in line
    assert snapshot(workspace.root) == before


def test_what_matches_nothing_is_not_found(
    workspace: Workspace, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file_requests(workspace, request_body(selectors=[{"sample_key": "nothing"}]))
    assert main(["seal", *arguments(workspace, repository)]) == 0
    assert "matches an image of data set 'toys'" in refused(capsys, "resolve", *arguments(workspace, repository))
    assert [entry.state for entry in Ledger(workspace.ledger).entries()] == ["not_found"]
    assert not workspace.batch("b1").asset("forget_manifest").exists()


def test_a_whole_data_set_is_refused(
    workspace: Workspace, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("circle", "square", "triangle", "star")
    everything = [{"class": name, "approved_by": "privacy-officer"} for name in names]
    file_requests(workspace, request_body(selectors=everything))
    assert main(["seal", *arguments(workspace, repository)]) == 0
    before = snapshot(workspace.root)
    assert "covers 40 of 40 images" in refused(capsys, "resolve", *arguments(workspace, repository))
    assert snapshot(workspace.root) == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--set", "data.nmae=toys"), "there is no key 'data.nmae'; keys that exist there: channels, flip"),
        (("--set", "unlearn.budget.steps=none"), "'unlearn.budget.steps'"),
        (("--set", "data.name"), "KEY=VALUE is right"),
        (("--set", "data.name=[1"), "the value is not YAML"),
        (("--params", "nowhere.yaml"), "nowhere.yaml: there is no such file"),
        (("--params", "."), "check that it exists and may be read"),
        (("--batch", "../b1"), "is not a plain name"),
    ],
)
def test_a_typo_is_named(
    workspace: Workspace,
    repository: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    sentence: str,
) -> None:
    before = snapshot(workspace.root)
    assert sentence in refused(capsys, "seal", *arguments(workspace, repository, *words))
    assert snapshot(workspace.root) == before


def test_missing_stages_and_data_sets_say_what_makes_them(
    workspace: Workspace, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file_requests(workspace, request_body())
    assert "run `unlearning seal --batch b1` first" in refused(capsys, "resolve", *arguments(workspace, repository))
    assert main(["seal", *arguments(workspace, repository)]) == 0
    other = arguments(workspace, repository, "--set", "data.name=faces")
    assert "unlearning ingest SOURCE --name faces" in refused(capsys, "resolve", *other)
    assert main(["resolve", *arguments(workspace, repository)]) == 0
    assert main(["plan", *arguments(workspace, repository)]) == 0
    assert main(["retain", *arguments(workspace, repository)]) == 0
    ledger = snapshot(workspace.root)
    line = refused(capsys, "unlearn", *arguments(workspace, repository))
    assert "unlearned_checkpoint needs original_checkpoint" in line
    assert "unlearning train original --batch b1" in line
    assert snapshot(workspace.root) == ledger


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.write_bytes(b"not a tar"), "train.tar: truncated shard"),
        (lambda path: path.write_bytes(b"x" * 1024), "not a tar archive, or damaged"),
        (lambda path: path.mkdir(), "holds neither shards nor pictures"),
    ],
)
def test_a_broken_source_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Any, sentence: str
) -> None:
    (tmp_path / "source").mkdir()
    make(tmp_path / "source" / "train.tar")
    assert sentence in refused(capsys, "ingest", "source", "--name", "mine")
    assert not Path("var").exists()


def test_a_full_disk_is_one_line(
    workspace: Workspace, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file_requests(workspace, request_body())
    before = snapshot(workspace.root)

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_bytes", full)
    assert "the disk is full" in refused(capsys, "seal", *arguments(workspace, repository))
    monkeypatch.undo()
    assert snapshot(workspace.root) == before
    assert main(["seal", *arguments(workspace, repository)]) == 0


def test_verify_tells_apart_sound_changed_and_none(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, batch = certified(tmp_path, repository)
    assert main(["verify", str(batch.path)]) == 0
    assert "batch b1: verified" in capsys.readouterr().out
    (batch.unlearned / "model.safetensors").write_bytes(b"other")
    assert main(["verify", str(batch.path)]) == 1
    out = capsys.readouterr().out
    assert "mismatch: unlearned_checkpoint/model.safetensors: sha256" in out
    assert "does NOT verify" in out
    assert "not the folder of a certified batch" in refused(capsys, "verify", str(tmp_path))


@pytest.mark.parametrize("words", [[], ["no-such-verb"], ["train", "neither", "--batch", "b"], ["seal"]])
def test_a_wrong_command_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(words)
    assert error.value.code == 2
    assert "usage: unlearning" in capsys.readouterr().err


def test_kinds_are_listed_for_people_and_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kinds", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert {"mae", "random_patches", "noise_target", "weighted_sum"} <= {kind["kind"] for kind in listing}
    assert main(["kinds"]) == 0
    text = capsys.readouterr().out
    assert all(f"{kind['family']} {kind['kind']}: " in text for kind in listing)


def test_a_reader_that_leaves_early_is_no_error() -> None:
    words = [sys.executable, "-m", "unlearning", "kinds"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.close()
        _, said = writer.communicate(timeout=120)
    assert (writer.returncode, said) == (0, "")


@pytest.mark.parametrize("words", [["--help"], ["verify", "--help"], ["request", "list"], ["verify", "nowhere"]])
def test_light_verbs_never_import_torch(words: list[str]) -> None:
    code = (
        "import sys\n"
        "from unlearning.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'sklearn', 'timm', 'mlflow', 'dagster', 'webdataset'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_stages_beside_the_ledger_never_import_torch(workspace: Workspace, repository: Path) -> None:
    """Dagster runs them in its own process."""
    file_requests(workspace, request_body())
    code = (
        "import sys\n"
        "from unlearning.__main__ import main\n"
        "for verb in ('seal', 'resolve', 'plan', 'retain'): assert main([verb, *sys.argv[1:]]) == 0\n"
        "assert main(['certify', *sys.argv[1:]]) == 2\n"
        "heavy = {'torch', 'sklearn', 'webdataset'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    words = [sys.executable, "-c", code, *arguments(workspace, repository)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
