"""A typo anywhere in params.yaml stops the first stage that trains, not the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unlearning.errors import ParamsError
from unlearning.params import Params
from unlearning.verbs import _kinds


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("generator.widht", 3, "generator: generator 'mae': there is no key 'widht'"),
        ("corruption.kind", "hole", "corruption: no corruption of kind 'hole'; known kinds: .*center_hole"),
        (
            "unlearn.method.kind",
            "noise_targt",
            "unlearn.method: no method of kind 'noise_targt'; known kinds: .*noise_target",
        ),
        (
            "unlearn.merge.forget_weight",
            -1,
            "unlearn.merge: merge 'weighted_sum': 'forget_weight' .*greater than or equal to 0",
        ),
        ("unlearn.scope.kind", "decoder", "unlearn.scope: no scope of kind 'decoder'"),
        ("evaluate.metrics", [{"kind": "kid", "extractor": "vgg"}], "evaluate.metrics: metric 'kid': 'extractor' "),
        ("evaluate.metrics", [{"kind": "psnr"}] * 2, "evaluate.metrics: two metrics are called 'psnr' in the report"),
        ("evaluate.metrics", [{"kind": "fid"}], "evaluate.metrics: no metric of kind 'fid'; known kinds: copy, fr"),
        ("evaluate.corruption", {"kind": "center_hole", "sides": 1}, "evaluate.corruption: .*no key 'sides'"),
        ("evaluate.attacks", [{"kind": "relern"}], "evaluate.attacks: no attack of kind 'relern'; known .*relearn"),
        ("evaluate.attacks", [{"kind": "relearn", "source": "proxy"}], "evaluate.attacks: attack 'relearn': 'source' "),
    ],
)
def test_every_choice_is_looked_up_before_anything_is_trained(
    repository: Path, key: str, value: Any, said: str
) -> None:
    params = Params.read(repository / "params.yaml", {key: value})
    with pytest.raises(ParamsError, match=said):
        _kinds.check(params)


def test_no_attack_brings_back_what_no_picture_is_made_of(repository: Path) -> None:
    changes = {"generator": {"kind": "palette"}, "corruption": {"kind": "everything"}, "evaluate.metrics": []}
    changes |= {"unlearn.method": {"kind": "naive_deletion"}, "evaluate.attacks": [{"kind": "interpolate"}]}
    with pytest.raises(ParamsError, match=r"evaluate\.attacks: under corruption 'everything' .* set evaluate"):
        _kinds.check(Params.read(repository / "params.yaml", changes))


def test_no_attacks_leave_the_parameters_as_they_were_before_there_were_any(repository: Path) -> None:
    plain, attacked = (
        Params.read(repository / "params.yaml", {"evaluate.attacks": attacks})
        for attacks in ([], [{"kind": "interpolate", "steps": 2}])
    )
    assert "attacks" not in plain.model_dump(mode="json")["evaluate"]
    assert attacked.model_dump(mode="json")["evaluate"]["attacks"] == [{"kind": "interpolate", "steps": 2}]
    assert plain.section_digest("evaluate") != attacked.section_digest("evaluate")
    assert Params.model_validate(attacked.model_dump(mode="json")) == attacked


def test_what_is_shipped_is_right(repository: Path) -> None:
    for path in (repository / "params.yaml", *sorted((repository / "infra" / "params").glob("*.yaml"))):
        _kinds.check(Params.read(path))
