"""A number of params.yaml is finite: YAML reads 0.01e999 and nan as words, and a bound of that kind judges nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlearning.errors import ParamsError
from unlearning.merges.weighted_sum import WeightedSum
from unlearning.methods.ascent_repair import AscentRepair
from unlearning.params import Params
from unlearning.recipe import Choice

ENDLESS = ("nan", "inf", "-inf", "0.01e999", float("nan"), float("inf"))


@pytest.mark.parametrize("number", ENDLESS)
@pytest.mark.parametrize("name", ["gates.attacks.exposure.value", "gates.retention_at_least.value", "retain.ratio"])
def test_a_section_takes_no_other(repository: Path, name: str, number: object) -> None:
    with pytest.raises(ParamsError, match=rf"'{name}' input should be a finite number"):
        Params.read(repository / "params.yaml", {name: number})


@pytest.mark.parametrize("number", ENDLESS)
def test_a_recipe_takes_no_other(number: object) -> None:
    with pytest.raises(ParamsError, match=r"worse.* finite number"):
        AscentRepair.chosen(Choice.model_validate({"kind": "ascent_repair", "worse": number}), "unlearn.method")
    with pytest.raises(ParamsError, match=r"forget_weight.* finite number"):
        WeightedSum.chosen(Choice.model_validate({"kind": "weighted_sum", "forget_weight": number}), "unlearn.merge")
