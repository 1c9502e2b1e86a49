"""The verb `suppress`: what it measures, what it names beside the champion, when it refuses, and when it ends."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests import toy_batch
from unlearning import __main__, files
from unlearning.data import index, manifest
from unlearning.data.images import ImageSet
from unlearning.errors import EvidenceError, PolicyError
from unlearning.evidence import suppression
from unlearning.evidence.suppression import InForce
from unlearning.log import silent
from unlearning.metrics.extractors import in_domain, inception
from unlearning.params import Params
from unlearning.verbs import _planned, _suppressed, ingest, plan, promote, suppress
from unlearning.workspace import BatchFolder, Workspace

CPU = torch.device("cpu")
APPROVED = {"approved_by": "privacy-officer"}
SUPPRESS = {"policy.rules": [{"then": "suppress", "because": "no time is left to train"}]}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An extractor of four steps, and no Inception, wherever this runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(in_domain, "_STEPS", 4)
    monkeypatch.setattr(in_domain, "_BATCH", 16)
    monkeypatch.setattr(inception, "load", lambda *_: "none here")
    yield
    torch.set_num_threads(threads)


def _toys(home: Path, repository: Path, selectors: list[dict[str, Any]]) -> tuple[Params, BatchFolder]:
    """A batch of toy pictures up to its retain set."""
    workspace = toy_batch.toy_workspace(home)
    toy_batch.file_requests(workspace, toy_batch.request_body(selectors=selectors))
    params, batch = toy_batch.toy_params(repository), workspace.batch("b1")
    toy_batch.manifests(params, batch)
    return params, batch


def test_what_is_to_be_forgotten_is_recognised_where_training_never_saw_it(tmp_path: Path, repository: Path) -> None:
    for number, name in enumerate(toy_batch.CLASSES):
        for one in range(30):  # a class, a grey: easy, so that a filter that fails is a wrong one
            folder, sink = tmp_path / "pictures" / name, io.BytesIO()
            noise = np.random.default_rng([number, one]).integers(-20, 21, (8, 8, 3))
            Image.fromarray((60 * number + 40 + noise).astype(np.uint8)).save(sink, "PNG")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{one}.png").write_bytes(sink.getvalue())
    workspace = Workspace(tmp_path / "var")
    ingest.run(str(tmp_path / "pictures"), "toys", workspace, silent)
    toy_batch.file_requests(workspace, toy_batch.request_body())
    params, batch = toy_batch.toy_params(repository, **{"suppress.false_positives": 0.05}), workspace.batch("b1")
    toy_batch.manifests(params, batch)
    made = suppress.run(params, batch, silent)

    said = files.read_json(batch.asset("interim_filter") / "filter.json")
    assert (said["claim_level"], said["claim"]) == ("C0", "suppression, never deletion")
    assert said["trained_on"]["false_positive_rate"]["rate"] <= 0.05
    held_out = said["held_out"]
    assert held_out["recall"]["of"] == len(manifest.only(manifest.read(batch.forget), "holdout"))
    assert held_out["recall"]["low"] > held_out["false_positive_rate"]["high"]
    assert held_out["auc"]["low"] > 0.5
    assert (made.facts["recall"], made.facts["auc"]) == (held_out["recall"]["rate"], held_out["auc"]["value"])

    (guard,) = _suppressed.in_force(workspace, params.model.name, CPU)
    assert guard.extractor.weights_sha256 == said["extractor"]["weights_sha256"]
    table = manifest.only(manifest.read(batch.forget), "holdout")
    pictures = ImageSet(table, workspace, params.data)(torch.arange(len(table)))
    assert int(guard.filter.withholds(guard.extractor(pictures)).sum()) == held_out["recall"]["count"]


def test_it_is_in_force_until_its_requests_are_promoted(tmp_path: Path, repository: Path) -> None:
    params, batch = toy_batch.certified(tmp_path, repository)
    workspace, name = batch.workspace, params.model.name
    made = suppress.run(params, batch, silent)
    mine = InForce(
        "b1", "batches/b1/interim_filter", made.sha256, (f"shop-1/{toy_batch.request_body()['request_id']}",)
    )
    other = InForce("b0", "batches/b0/interim_filter", "0" * 64, (*mine.requests, "shop-1/another"))
    before = toy_batch.snapshot(workspace.root)
    assert suppress.run(params, batch, silent) == made
    assert toy_batch.snapshot(workspace.root) == before
    suppression.put(workspace, name, other)
    assert suppression.in_force(workspace, name) == (other, mine)

    promote.run(params, batch)
    assert suppression.in_force(workspace, name) == (other,)  # one of its requests is not forgotten yet
    suppression.put(workspace, name, mine)  # as a promotion leaves it that was killed before the filter was lifted
    promote.run(params, batch)
    assert suppression.in_force(workspace, name) == (other,)
    before = toy_batch.snapshot(workspace.root)
    with pytest.raises(PolicyError, match="batch b1: its requests are promoted, so the served model has forgotten"):
        suppress.run(params, batch, silent)
    assert toy_batch.snapshot(workspace.root) == before


def test_a_filter_that_is_not_whole_is_not_served(tmp_path: Path, repository: Path) -> None:
    params, batch = _toys(tmp_path, repository, [{"class": "star", **APPROVED}])
    plan.run(Params.read(repository / "params.yaml", {**toy_batch.TOYS, **SUPPRESS}), batch, silent)
    said = "without a filter of ours .`unlearning suppress --batch b1` makes one., its requests stay open"
    with pytest.raises(PolicyError, match=said):
        _planned.refuse_suppressed(params, batch)
    suppress.run(params, batch, silent)
    with pytest.raises(PolicyError, match="stays, behind this batch's filter, its requests stay open"):
        _planned.refuse_suppressed(params, batch)

    (batch.asset("interim_filter") / "extractor.safetensors").unlink()
    with pytest.raises(EvidenceError, match=r"not the filter that suppression\.json names; run `unlearning suppress"):
        _suppressed.in_force(batch.workspace, params.model.name, CPU)
    path = suppression.file(batch.workspace, params.model.name)
    files.write_json(path, {"schema": "suppression/0", "filters": [asdict(InForce("b1", "", "", ()))]})
    with pytest.raises(EvidenceError, match=r"suppression\.json: not a suppression/1 record"):
        suppress.run(params, batch, silent)


@pytest.mark.parametrize(
    ("selected", "said"),
    [
        ("held out", "none of its images to forget was trained on"),
        ("all but one class", "there is no feature extractor: the retain images are of one class"),
    ],
)
def test_where_no_filter_can_be_learnt_one_sentence_says_so(
    selected: str, said: str, tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = toy_batch.toy_workspace(tmp_path)
    key = manifest.only(index.read(workspace.dataset("toys")), "holdout")["key"][0].as_py()
    classes = [{"class": name, **APPROVED} for name in toy_batch.CLASSES[1:]]
    toy_batch.file_requests(
        workspace, toy_batch.request_body(selectors=[{"sample_key": key}] if selected == "held out" else classes)
    )
    batch = workspace.batch("b1")
    toy_batch.manifests(toy_batch.toy_params(repository), batch)
    before = toy_batch.snapshot(workspace.root)
    words = ["--params", str(repository / "params.yaml"), "--set", "data.name=toys", "--set", "data.channels=3"]
    assert __main__.main(["suppress", "--batch", "b1", "--root", str(workspace.root), *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert toy_batch.snapshot(workspace.root) == before
