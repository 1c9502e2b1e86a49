"""A sequence that really runs, in this process and small: two digits forgotten in a row, killed in between."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from tests import toys
from tests.toy_batch import snapshot
from unlearning import files
from unlearning.data import manifest
from unlearning.errors import DataError, ManifestError, ParamsError
from unlearning.evidence import lineage
from unlearning.log import Progress, silent
from unlearning.metrics._beside_reference import side, way
from unlearning.report import sequence as page
from unlearning.sequences import Deletions
from unlearning.training import checkpoint
from unlearning.verbs import _sequence_chain, ingest, sequence
from unlearning.verbs.sequence import Outcome
from unlearning.workspace import Workspace

COMMAND = "unlearning sequence two.yaml"
_BUDGET = {"batch_size": 8, "learning_rate": 1e-2, "weight_decay": 0.0}
TREE: dict[str, Any] = {
    "name": "two",
    "dataset": "digits",
    "params": "params.yaml",
    "classes": [3, 8],  # as YAML reads them
    "methods": {"naive": {"unlearn.method": {"kind": "naive_deletion"}}, "louder": {"unlearn.budget.steps": 5}},
    "look_after": [1, 2],
}


@dataclass(frozen=True)
class Made:
    deletions: Deletions
    workspace: Workspace
    killed: dict[str, bytes]  # what lay there when it was
    outcome: Outcome


def written(home: Path, repository: Path, **changes: Any) -> Deletions:
    """The sequence and its parameter file below `home`, read back."""
    params = yaml.safe_load((repository / "infra" / "studies" / "params" / "digits-ddpm.yaml").read_text())
    params["generator"] = {"kind": "ddpm", **toys.SMALLEST["ddpm"], "widths": [8, 16]}
    params["original"] = {**_BUDGET, "steps": 30, "batch_size": 32, "learning_rate": 5e-3}
    params["unlearn"]["budget"] = {**_BUDGET, "steps": 4, "save_every": 2}
    params["evaluate"] |= {"max_images": 16, "bootstrap": 100, "drawn": {"images": 40, "copy_distance": 0.35}}
    del params["evaluate"]["likelihood"]
    home.mkdir(parents=True, exist_ok=True)
    (home / "params.yaml").write_text(yaml.safe_dump(params))
    (home / "two.yaml").write_text(yaml.safe_dump({**TREE, **changes}, sort_keys=False))
    return Deletions.read(home / "two.yaml")


class KilledInTheSecondRequest:
    """A log that ends the run once the second generation has a state to resume from."""

    def __init__(self) -> None:
        self.generation = 1

    def __call__(self, line: Progress) -> None:
        if line.stage == "sequence: naive":
            self.generation = line.step + 1
        if self.generation == 2 and line.stage == "unlearned_checkpoint" and line.step >= 3:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def made(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("sequence")
    deletions, workspace = written(home, repository), Workspace(home / "var")
    ingest.run("digits", "digits", workspace, silent)
    with pytest.raises(KeyboardInterrupt):
        sequence.run(deletions, workspace, KilledInTheSecondRequest(), COMMAND, ["naive"])
    killed = snapshot(_sequence_chain.home(deletions, workspace).root)
    return Made(deletions, workspace, killed, sequence.run(deletions, workspace, silent, COMMAND, ["naive"]))


def test_a_killed_sequence_goes_on_where_it_was(made: Made) -> None:
    first, second = (_sequence_chain.generation(made.deletions, "naive", number, made.workspace) for number in (1, 2))
    assert "batches/naive-g02/unlearned_checkpoint/model.safetensors" not in made.killed
    for name in ("batches/all/reference_checkpoint", "batches/naive-g01/unlearned_checkpoint"):
        path = f"{name}/model.safetensors"
        assert (made.outcome.folder / path).read_bytes() == made.killed[path]
    assert lineage.read(first, "unlearned_checkpoint").facts["resumed_from"] in (None, 0)
    assert lineage.read(second, "unlearned_checkpoint").facts["resumed_from"] == 2
    assert [one["steps"] for one in made.outcome.summary["methods"][0]["generations"]] == [4, 4]


def test_each_generation_starts_from_the_weights_that_the_one_before_left(made: Made) -> None:
    base = _sequence_chain.batch(made.deletions, _sequence_chain.ALL, made.workspace)
    first, second = (_sequence_chain.generation(made.deletions, "naive", number, made.workspace) for number in (1, 2))
    weights = [
        checkpoint.weights_sha256(path)
        for path in (base.original, first.original, first.unlearned, second.original, second.unlearned)
    ]
    assert weights[0] == weights[1] != weights[2] == weights[3] != weights[4]
    assert lineage.read(second, "original_checkpoint").facts["version"] == 1


def test_a_generation_forgets_its_own_request_and_keeps_nothing_that_was_named_before(made: Made) -> None:
    first, second = (_sequence_chain.generation(made.deletions, "naive", number, made.workspace) for number in (1, 2))
    forgotten = [set(manifest.read(one.forget)["class"].to_pylist()) for one in (first, second)]
    kept = [set(manifest.read(one.retain)["class"].to_pylist()) for one in (first, second)]
    digits = {str(digit) for digit in range(10)}
    assert forgotten == [{"3"}, {"8"}]
    assert kept == [digits - {"3"}, digits - {"3", "8"}]


def test_a_look_is_about_all_requests_beside_the_one_reference(made: Made) -> None:
    [walk] = made.outcome.summary["methods"]
    assert [[(one["class"], one["asked"]) for one in look["requests"]] for look in walk["looks"]] == [
        [("3", True), ("8", False)],
        [("3", True), ("8", True)],
    ]
    report = files.read_json(_sequence_chain.batch(made.deletions, "naive-after-02", made.workspace).report)
    known = report["sets"]["forget"]["surprise_by_class"]["8"]
    of_eight = walk["looks"][1]["requests"][1]
    assert of_eight["forgetting"] == way(known["unlearned"], known["original"], known["mean_picture"])
    beside = way(known["unlearned"], known["original"], known["reference"])
    assert of_eight["side"] == side(beside, made.deletions.sequence.margin)
    copies = walk["looks"][1]["copies"]["unlearned"]
    assert copies["asked"]["count"] == sum(copies["by_class"].values())
    of_some = report["whole_pictures"]["drawn"]["unlearned"]["copies"]  # of the `max_images` that were measured
    assert copies["asked"]["count"] >= of_some["count"]
    assert copies["asked"]["of"] == of_some["of"]
    assert copies["to_come"]["count"] == 0
    before = walk["looks"][0]["copies"]["original"]
    assert [before["asked"]["count"], before["to_come"]["count"]] == list(before["by_class"].values())


def test_only_the_summary_is_published(made: Made, tmp_path: Path) -> None:
    folder = sequence.publish(made.outcome, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == sorted(sequence.FILES)
    for name in ("sequence.json", "table.md"):
        assert str(made.workspace.root.resolve()) not in (folder / name).read_text()
    assert COMMAND in made.outcome.table
    with Image.open(folder / "sequence.png") as picture:
        assert picture.size[0] > 800


def test_the_page_says_what_the_looks_say(made: Made) -> None:
    """The looks of the run with other numbers in them: so small a model knows too little for a scale."""
    summary = copy.deepcopy(made.outcome.summary)
    first, last = summary["methods"][0]["looks"]
    for look, values in ((first, (0.9, -0.12)), (last, (0.31, 2.5))):
        for one, value, where in zip(look["requests"], values, ("like_reference", "over_forgets"), strict=True):
            one.update(forgetting=value, reference=1.2, side=where)
    last["requests"][0]["side"] = "remembers"
    rows = [line.split(" | ") for line in page.table(summary).splitlines()]
    [one, both] = (next(row for row in rows if row[0] == f"| {number}") for number in (1, 2))
    assert one[1:6] == [
        "0.90, 0.90 to 0.90",
        "0.90",
        "1.20",
        "0 of 1",
        "0 of 1",
    ]  # what was not asked for is no failure
    assert both[1:6] == ["1.41, 0.31 to 2.50", "0.31", "1.20", "1 of 2", "1 of 2"]
    eight = next(row for row in rows if row[0] == "| 2: 8")
    assert eight[1:] == ["1.20", "(-0.12)", "2.50 |"]


def test_a_generation_that_went_on_from_other_weights_is_refused(made: Made, tmp_path: Path, repository: Path) -> None:
    """The same label with another speed: the first generation is made again, and the second is not of it."""
    slower = {"naive": {**TREE["methods"]["naive"], "unlearn.budget.learning_rate": 1e-3}}
    other = written(tmp_path, repository, methods=slower)
    with pytest.raises(ManifestError, match="naive-g02 went on from other weights"):
        sequence.run(other, made.workspace, silent, COMMAND)
    assert sequence.write(other, made.workspace, COMMAND)["methods"] != made.outcome.summary["methods"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"classes": ["3", "3"]}, "classes names one twice"),
        ({"look_after": [3]}, "look_after names generation 3; 1 to 2 are right"),
        ({"methods": {"x": {"data.name": "y"}}}, "sets 'data.name'; a method may set keys of unlearn"),
        ({"methods": {"x": {"unlearn.stepz": 1}}}, "there is no key"),
    ],
)
def test_a_wrong_file_is_named(changes: dict[str, Any], sentence: str, tmp_path: Path, repository: Path) -> None:
    with pytest.raises(ParamsError, match=sentence):
        written(tmp_path, repository, **changes)


def test_what_cannot_run_is_refused_before_anything_is_trained(made: Made, tmp_path: Path, repository: Path) -> None:
    with pytest.raises(ParamsError, match="there is no method 'nothing'; methods that exist: naive, louder"):
        sequence.run(made.deletions, made.workspace, silent, COMMAND, ["nothing"])
    strangers = written(tmp_path, repository, name="strangers", classes=["3", "z"])
    with pytest.raises(ParamsError, match="data set 'digits' has no class 'z'"):
        sequence.run(strangers, made.workspace, silent, COMMAND)
    with pytest.raises(DataError, match="no ingested data set"):
        sequence.run(made.deletions, Workspace(tmp_path / "empty"), silent, COMMAND)
