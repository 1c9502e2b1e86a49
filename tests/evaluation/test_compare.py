"""`unlearning compare`: several reports on one page, and those that do not belong beside one another refused."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.evaluation.tiny_report import HOSTILE, report, told
from unlearning import files
from unlearning.__main__ import main
from unlearning.errors import EvidenceError, ParamsError
from unlearning.report.charts import Spread
from unlearning.verbs import compare
from unlearning.workspace import Workspace

WEIGHTS = {"original": "a", "reference": "b", "unlearned": "c"}


def curve(*values: float | None, name: str = "relearn", source: str = "retain") -> dict[str, Any]:
    line = {"effort": [float(place) for place in range(len(values))], "forgetting": list(values)}
    signal = {"value": 0.25, "low": 0.125, "high": 0.375}
    one = {
        "recipe": {"kind": name, "source": source},
        "finding": "curve",
        "effort_unit": "steps",
        "set": "forget_holdout",
    }
    flat = {**line, "forgetting": [1.0] * len(values)}
    return {"kind": name, **one, "images": 70, "original": flat, "unlearned": line, "reference": flat, "signal": signal}


def at(folder: Path, name: str, **changes: Any) -> str:
    """A report in a folder, as evaluate leaves it."""
    place = folder / name
    place.mkdir()
    files.write_json(place / "report.json", {**report(), "weights": WEIGHTS, "batch": name, **changes})
    return str(place)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "root")


def compared(places: list[str], workspace: Workspace, tmp_path: Path, **more: Any) -> tuple[dict[str, Any], str]:
    done = compare.run(places, workspace, tmp_path / "out", **more)
    read = files.read_json(done.folder / "compare.json")
    assert read == json.loads(json.dumps(done.summary))
    return read, (done.folder / "compare.html").read_text()


def test_two_runs_are_columns_of_gates_scores_and_attacks(workspace: Workspace, tmp_path: Path) -> None:
    scores = report()["scores"]
    worse = {**scores, "retention": {**scores["retention"], "value": 0.5, "low": 0.4, "high": 0.6}}
    judged = {"name": "attack_relearn", "status": "fail", "blocking": True, "sentence": "", "source": "", "value": 0.5}
    places = [
        at(tmp_path, "a", attacks=[curve(0.875, 0.625), told()]),
        at(tmp_path, "b", attacks=[curve(0.75, 0.5)], scores=worse, criteria=[*report()["criteria"], judged]),
    ]
    read, html = compared(places, workspace, tmp_path)
    assert [run["name"] for run in read["runs"]] == ["a", "b"]
    assert read["unlike"] == {}
    rows = {row["name"]: row["runs"] for row in read["criteria"]}
    assert rows["attack_relearn"][0] is None
    assert (rows["attack_relearn"][1]["status"], rows["attack_relearn"][1]["value"]) == ("fail", 0.5)
    attacks = {row["kind"]: row["runs"] for row in read["attacks"]}
    assert [one["unlearned"] for one in attacks["relearn"]] == [0.625, 0.5]
    assert [one["reference"] for one in attacks["relearn"]] == [1.0, 1.0]
    assert attacks["exposure"][1] is None
    spread: Spread = (0.5, 0.4, 0.6)
    assert tuple(read["runs"][1]["standing"][0]) == spread
    assert HOSTILE not in html
    assert "default-src 'none'" in html
    assert not re.findall(r"(?:src|href)=", html)
    for name in ("pareto.png", "attacks.png"):
        assert Image.open(io.BytesIO((tmp_path / "out" / name).read_bytes())).size[0] > 200


def test_the_same_attack_is_overlaid_and_another_is_not(workspace: Workspace, tmp_path: Path) -> None:
    alike = [at(tmp_path, "a", attacks=[curve(0.9, 0.5)]), at(tmp_path, "b", attacks=[curve(0.9, 0.25)])]
    _, html = compared(alike, workspace, tmp_path)
    assert "The same attack on each" in html
    drawn = re.findall(r'<polyline points="([^"]+)" style="stroke: var\(--(run0|run1|soft)\)', html)
    assert [name for _, name in drawn] == ["soft", "run0", "run1"]
    holes = [curve(0.9, 0.5, name="other_holes") | {"places": ["as evaluated", HOSTILE]}, told()]
    both = [at(tmp_path, name, attacks=holes) for name in ("d", "e")]
    _, html = compared(both, workspace, tmp_path)
    assert HOSTILE not in html
    assert "as evaluated" in html
    assert "How well images are told apart" in html
    other = [alike[0], at(tmp_path, "c", attacks=[curve(0.9, 0.25, source="forget")])]
    _, html = compared(other, workspace, tmp_path)
    assert "The same attack on each" not in html


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"goal": "never_seen"}, "the goal of the requests"),
        ({"corruption": {"kind": "center_hole"}}, "the corruption"),
        ({"seeds": [0]}, "the draws of the corruption"),
        ({"weights": {**WEIGHTS, "reference": "other"}}, "the weights of the reference"),
        ({"sets": {"forget": report()["sets"]["forget"]}}, "the images"),
    ],
)
def test_runs_that_are_unlike_are_refused_unless_that_is_said(
    workspace: Workspace, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    places = [at(tmp_path, "a"), at(tmp_path, "b", **change)]
    with pytest.raises(ParamsError, match=words):
        compare.run(places, workspace, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    read, html = compared(places, workspace, tmp_path, unlike=True)
    assert list(read["unlike"].values()) == [words]
    assert "These runs are unlike" in html
    assert words in html


def test_other_images_of_the_same_number_and_classes_are_other_images(workspace: Workspace, tmp_path: Path) -> None:
    places = [at(tmp_path, "a"), at(tmp_path, "b")]
    for place, key in zip(places, ("one", "two"), strict=True):
        pq.write_table(pa.table({"set": ["forget"], "key": [key]}), Path(place) / "per_image.parquet")
    with pytest.raises(ParamsError, match="the images"):
        compare.run(places, workspace, tmp_path / "out")


def test_names_from_a_report_are_text_and_twins_are_told_apart(workspace: Workspace, tmp_path: Path) -> None:
    places = [at(tmp_path, "a", batch=HOSTILE), at(tmp_path, "b", batch=HOSTILE)]
    read, html = compared(places, workspace, tmp_path)
    assert [run["name"] for run in read["runs"]] == [f"{HOSTILE} (1)", f"{HOSTILE} (2)"]
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html


def test_a_run_may_be_the_key_of_a_batch_a_folder_or_the_file(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workspace.batch("kept").asset("evaluation_report")
    folder.mkdir(parents=True)
    files.write_json(folder / "report.json", {**report(), "weights": WEIGHTS, "batch": "kept"})
    file = Path(at(tmp_path, "file")) / "report.json"
    words = ["compare", "kept", at(tmp_path, "folder"), str(file), "--root", str(workspace.root)]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["runs"] == {"kept": "passed", "folder": "passed", "file": "passed"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [({"schema": "other"}, "not an evaluation report"), ({**report(), "sets": [1]}, "not as evaluate writes it")],
)
def test_what_is_no_report_is_refused_in_a_sentence(
    workspace: Workspace, tmp_path: Path, content: Any, sentence: str
) -> None:
    other = tmp_path / "other.json"
    files.write_json(other, content)
    with pytest.raises(EvidenceError, match=sentence):
        compare.run([at(tmp_path, "a"), str(other)], workspace, tmp_path / "out")


def test_one_run_or_one_that_is_not_there_is_refused_with_exit_code_2(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = at(tmp_path, "a")
    assert main(["compare", place]) == 2
    assert "two reports at least" in capsys.readouterr().err
    assert main(["compare", place, "nothing-here", "--root", str(workspace.root)]) == 2
    assert "nothing-here: no report lies there" in capsys.readouterr().err
