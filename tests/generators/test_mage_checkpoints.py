"""Published MAGE files and VQ-GAN files: they load whole or in parts, and are refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.generators import published
from unlearning import digests
from unlearning.contracts import Published
from unlearning.errors import CheckpointError
from unlearning.generators.mage import MageRecipe


def _read(path: Path, **fields: Any) -> Published:
    return MageRecipe(**{**published.TINY_MAGE, **fields}).build_from(path, 8, 3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return published.saved(tmp_path / "mage-tiny.pth", published.mage(), **published.command_line())


def test_a_whole_file(file: Path) -> None:
    made = _read(file)
    assert (made.layout, made.sha256, made.whole) == ("LTH14/mage", digests.of_file(file), True)
    tensors, kept = published.mage(), made.generator.state_dict()
    assert tensors.keys() - kept.keys() == {
        "cls_token",
        "pos_embed",
        "mask_token",
        "decoder_pos_embed",
        "token_emb.position_ids",
        "patch_embed.proj.weight",
        "patch_embed.proj.bias",
        "decoder_pred.weight",
        "decoder_pred.bias",
    }
    assert kept.keys() - tensors.keys() == {"mlm_layer.weight"}
    assert all(torch.equal(kept[name], tensors[name]) for name in kept.keys() & tensors.keys())


@pytest.mark.parametrize("wrapper", [None, "state_dict"])
def test_a_tokenizer_alone_leaves_the_rest_to_training(tmp_path: Path, wrapper: str | None) -> None:
    path = published.saved(tmp_path / "vqgan_jax_strongaug.ckpt", published.vqgan(), wrapper)
    made = _read(path)
    assert (made.layout, made.whole) == ("VQ-GAN of LTH14/mage", False)
    kept = made.generator.state_dict()
    assert all(torch.equal(kept[f"vqgan.{name}"], value) for name, value in published.vqgan().items())


def test_a_folder_with_one_of_each(tmp_path: Path, file: Path) -> None:
    folder = tmp_path / "both"
    folder.mkdir()
    alone = {name: value for name, value in published.mage().items() if not name.startswith("vqgan.")}
    published.saved(folder / "mage.pth", alone)
    safetensors.torch.save_file(published.vqgan(), folder / "vqgan.safetensors")
    (folder / "README.md").write_text("weights")
    made, expected = _read(folder).generator.state_dict(), _read(file).generator.state_dict()
    assert made.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in made.items())


def test_our_own_safetensors_keep_their_own_output_table(tmp_path: Path, file: Path) -> None:
    kept = {name: value.clone() for name, value in _read(file).generator.state_dict().items()}
    kept["mlm_layer.weight"] += 1.0
    safetensors.torch.save_file(kept, tmp_path / "model.safetensors")
    again = _read(tmp_path / "model.safetensors").generator.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in kept.items())


def test_wrong_shapes_and_names_are_listed(tmp_path: Path) -> None:
    tensors = published.mage()
    tensors["vqgan.quantize.embedding.weight"] = torch.zeros(16, 8)
    tensors["blocks.2.norm1.bias"] = torch.zeros(16)
    del tensors["norm.bias"]
    with pytest.raises(CheckpointError) as refusal:
        _read(published.saved(tmp_path / "wrong.pth", tensors))
    assert "norm.bias is missing, [16] expected" in str(refusal.value)
    assert "vqgan.quantize.embedding.weight is [16, 8], [32, 8] expected" in str(refusal.value)
    assert "blocks.2.norm1.bias is [16], not a weight of this recipe" in str(refusal.value)


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    without = {name: value for name, value in published.mage().items() if not name.startswith("vqgan.")}
    taming = {**published.vqgan(), "quant_conv.weight": torch.zeros(8, 8, 1, 1)}
    twice = tmp_path / "twice"
    twice.mkdir()
    (tmp_path / "empty").mkdir()
    for name in ("a.ckpt", "b.ckpt"):
        published.saved(twice / name, published.vqgan(), None)
    published.saved(tmp_path / "without.pth", without)
    published.saved(tmp_path / "taming.ckpt", taming, "state_dict")
    published.saved(tmp_path / "mae.pth", published.mae())
    for name, said in {
        "without.pth": r"holds no VQ-GAN.*vqgan_jax_strongaug\.ckpt",
        "taming.ckpt": "of taming-transformers",
        "mae.pth": r"not a MAGE file.*blocks\.0\.attn",
        "twice": "nor a folder with one of each",
        "empty": "the first names are none",
    }.items():
        with pytest.raises(CheckpointError, match=said):
            _read(tmp_path / name)
