from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toys
from unlearning import files
from unlearning.contracts import Generator
from unlearning.errors import CheckpointError
from unlearning.generators.mae import MaeRecipe
from unlearning.training import checkpoint

RECIPE = MaeRecipe(**toys.SMALL_MAE)


def _saved(folder: Path, seed: int = 0, facts: dict[str, Any] | None = None) -> Generator:
    folder.mkdir(exist_ok=True)
    generator = toys.built(RECIPE, seed)
    checkpoint.save(folder, generator, RECIPE, toys.SIDE, 1, facts or {"role": "original"})
    return generator


def test_what_is_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    saved = _saved(tmp_path / "a")
    loaded = checkpoint.load(tmp_path / "a", expected=RECIPE)
    assert not loaded.training
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in saved.state_dict().items())
    described = checkpoint.describe(tmp_path / "a")
    assert described["weights_sha256"] == checkpoint.weights_sha256(tmp_path / "a")
    assert described["parameters"] == sum(weight.numel() for weight in saved.parameters())
    assert described["facts"] == {"role": "original"}


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _saved(tmp_path / name)
    for file in (checkpoint.WEIGHTS, checkpoint.DESCRIPTION):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_loading_draws_nothing_from_the_callers_stream(tmp_path: Path) -> None:
    _saved(tmp_path / "a")
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    checkpoint.load(tmp_path / "a")
    assert torch.equal(before, torch.random.get_rng_state())


def test_one_changed_byte_is_refused(tmp_path: Path) -> None:
    _saved(tmp_path / "a")
    path = tmp_path / "a" / checkpoint.WEIGHTS
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"model.safetensors: damaged"):
        checkpoint.load(tmp_path / "a")


def test_another_recipe_is_refused_naming_the_fields(tmp_path: Path) -> None:
    _saved(tmp_path / "a")
    other = MaeRecipe(**{**toys.SMALL_MAE, "depth": 5})
    with pytest.raises(CheckpointError, match="another recipe: depth is 2, expected 5"):
        checkpoint.load(tmp_path / "a", expected=other)


def test_weights_that_do_not_fit_their_recipe_are_refused(tmp_path: Path) -> None:
    _saved(tmp_path / "a")
    described = checkpoint.describe(tmp_path / "a")
    described["generator"]["depth"] = 3
    files.write_json(tmp_path / "a" / checkpoint.DESCRIPTION, described)
    with pytest.raises(CheckpointError, match="not those of the recipe beside them"):
        checkpoint.load(tmp_path / "a")


def test_a_generator_nobody_knows_is_refused(tmp_path: Path) -> None:
    _saved(tmp_path / "a")
    described = checkpoint.describe(tmp_path / "a")
    described["generator"]["kind"] = "oracle"
    files.write_json(tmp_path / "a" / checkpoint.DESCRIPTION, described)
    with pytest.raises(CheckpointError, match=r"no generator of kind 'oracle'; known kinds: .*mae"):
        checkpoint.load(tmp_path / "a")


@pytest.mark.parametrize("file", [checkpoint.WEIGHTS, checkpoint.DESCRIPTION])
def test_a_missing_file_is_refused(tmp_path: Path, file: str) -> None:
    _saved(tmp_path / "a")
    (tmp_path / "a" / file).unlink()
    with pytest.raises(CheckpointError, match="there is no such"):
        checkpoint.load(tmp_path / "a")


@pytest.mark.parametrize("content", [b"{}", b"[1]", b"\x00", b'{"schema": "checkpoint/1", "generator": 3}'])
def test_a_description_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    _saved(tmp_path / "a")
    (tmp_path / "a" / checkpoint.DESCRIPTION).write_bytes(content)
    with pytest.raises(CheckpointError):
        checkpoint.load(tmp_path / "a")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_neither_written_nor_read(tmp_path: Path, value: float) -> None:
    generator = _saved(tmp_path / "a")
    with torch.no_grad():
        generator.state_dict()["norm.weight"][0] = value
    before = (tmp_path / "a" / checkpoint.WEIGHTS).read_bytes()
    with pytest.raises(CheckpointError, match=r"norm.weight holds a number that is not finite"):
        checkpoint.save(tmp_path / "a", generator, RECIPE, toys.SIDE, 1, {})
    assert (tmp_path / "a" / checkpoint.WEIGHTS).read_bytes() == before
    sha256 = checkpoint.write_tensors(tmp_path / "a" / checkpoint.WEIGHTS, checkpoint.tensors(generator))
    described = {**checkpoint.describe(tmp_path / "a"), "weights_sha256": sha256}
    files.write_json(tmp_path / "a" / checkpoint.DESCRIPTION, described)
    with pytest.raises(CheckpointError, match="not finite"):
        checkpoint.load(tmp_path / "a")
