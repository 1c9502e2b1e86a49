"""The study file: one grid, in one order, and every typo named before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.studies.small import tree, written
from unlearning.errors import ParamsError
from unlearning.studies import Plans


def test_the_grid_expands_in_the_order_of_the_file(tmp_path: Path, repository: Path) -> None:
    plans = written(tmp_path, repository, seeds=[0, 1])
    base = "mae-three_eight-hole"
    assert [base.id for base in plans.bases] == [base]
    assert [point.id for point in plans.points] == [
        f"{base}-{method}-s{seed}" for method in ("noise_target-0.1", "noise_target-2", "diverges") for seed in (0, 1)
    ]
    assert Plans.read(tmp_path / "study.yaml").points == plans.points


def test_a_point_is_the_base_with_its_method_value_and_seed(tmp_path: Path, repository: Path) -> None:
    plans = written(tmp_path, repository, set={"evaluate.max_images": 33})
    quiet, loud, diverges = (plans.params(point) for point in plans.points)
    assert quiet.unlearn.merge.fields == {"forget_weight": 0.1}
    assert loud.unlearn.merge.fields == {"forget_weight": 2}  # the first value did not stay in a shared mapping
    assert diverges.unlearn.budget.learning_rate == 1e30
    for params in (quiet, loud, diverges):
        assert params.evaluate.siblings == ("5",)
        assert params.evaluate.max_images == 33
        assert params.corruption.kind == "center_hole"
        shared = ("model", "data", "retain", "generator", "corruption", "original")
        assert params.section_digest(*shared) == plans.base_params(plans.bases[0]).section_digest(*shared)


def test_several_families_each_with_its_methods(tmp_path: Path, repository: Path) -> None:
    families = {"mae": {"params": "params.yaml"}, "wide": {"params": "params.yaml", "set": {"generator.width": 96}}}
    methods = {"both": {}, "one": {"families": ["wide"], "seeds": [7]}}
    plans = written(tmp_path, repository, families=families, methods=methods)
    assert [point.id.replace("three_eight-hole-", "") for point in plans.points] == [
        "mae-both-s0",
        "wide-both-s0",
        "wide-one-s7",
    ]
    assert plans.params(plans.points[2]).generator.fields["width"] == 96


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"metods": {}}, "there is no key 'metods'"),
        ({"methods": {"noise": {"vari": {}}}}, "there is no key 'methods.noise.vari'"),
        ({"methods": {"noise": {"set": {"unlearn.bugdet.steps": 3}}}}, "there is no key 'unlearn.bugdet'"),
        (
            {"methods": {"noise": {"set": {"original.steps": 3}}}},
            "sets 'original.steps'; a method may set keys of unle",
        ),
        ({"methods": {"noise": {"vary": {"unlearn.a": [1], "unlearn.b": [2]}}}}, "vary names 2 keys"),
        ({"methods": {"noise": {"vary": {"unlearn.merge.forget_weight": []}}}}, "vary holds no value"),
        ({"methods": {"noise": {"vary": {"unlearn.merge.forget_weight": [0.1, 0.1]}}}}, "stands there twice"),
        ({"methods": {"noise": {"families": ["mage"]}}}, "there is no family 'mage'"),
        ({"methods": {"Noise": {}}}, "methods.Noise"),
        ({"corruptions": {"hole": {"evaluate.seeds": [0]}}}, "sets no corruption"),
        ({"forget": {}}, "names both or none of forget and batch"),
        ({"batch": "b1"}, "names both or none of forget and batch"),
        ({"families": {"mae": {"params": "nowhere.yaml"}}}, "there is no such file"),
        (
            {"forget": {"x" * 32: {"classes": ["3"]}}, "corruptions": {"y" * 32: tree()["corruptions"]["hole"]}},
            "letter",
        ),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, repository: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParamsError, match=sentence):
        written(tmp_path, repository, **changes)


def test_a_point_or_file_that_is_not_there_is_named(tmp_path: Path, repository: Path) -> None:
    plans = written(tmp_path, repository)
    assert plans.point(plans.points[1].id) == plans.points[1]
    with pytest.raises(ParamsError, match="there is no point 'nothing'"):
        plans.point("nothing")
    with pytest.raises(ParamsError, match="there is no such study file"):
        Plans.read(tmp_path / "other.yaml")


@pytest.mark.parametrize("name", ["digits", "cifar10", "tiny-imagenet-50"])
def test_the_studies_that_are_shipped_can_be_read(repository: Path, name: str) -> None:
    plans = Plans.read(repository / "infra" / "studies" / f"{name}.yaml")
    assert plans.study.name == name == plans.study.dataset
    assert len({point.id for point in plans.points}) == len(plans.points) > 0
