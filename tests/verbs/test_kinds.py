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
        ("evaluate.metrics", [{"kind": "fid"}], "evaluate.metrics: no metric of kind 'fid'; known kinds: frechet"),
        ("evaluate.corruption", {"kind": "center_hole", "sides": 1}, "evaluate.corruption: .*no key 'sides'"),
    ],
)
def test_every_choice_is_looked_up_before_anything_is_trained(
    repository: Path, key: str, value: Any, said: str
) -> None:
    params = Params.read(repository / "params.yaml", {key: value})
    with pytest.raises(ParamsError, match=said):
        _kinds.check(params)


def test_what_is_shipped_is_right(repository: Path) -> None:
    for path in (repository / "params.yaml", *sorted((repository / "infra" / "params").glob("*.yaml"))):
        _kinds.check(Params.read(path))
