"""Published masked autoencoders: they load, compute what the published code computes, and are refused in words."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests import toys
from tests.generators import published
from unlearning import digests
from unlearning.contracts import Published
from unlearning.errors import CheckpointError, ParamsError
from unlearning.generators.mae import MaeRecipe
from unlearning.randomness import Draws
from unlearning.types import Pair


def _read(path: Path, size: int = 8, **fields: Any) -> Published:
    return MaeRecipe(**{**published.TINY_MAE, **fields}).build_from(path, size, 3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return published.saved(tmp_path / "mae_visualize_vit_tiny.pth", published.mae())


@pytest.fixture
def pair() -> Pair:
    return toys.pair("retain", channels=3)


def _as_published(weights: dict[str, Tensor], pair: Pair) -> tuple[Tensor, Tensor]:
    """Latents [B, 1 + V, 16] and all patches [B, 16, 12], as models_mae.py computes them: everything stays in place."""
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((pair.clean + 1) / 2 - mean[:, None, None]) / deviation[:, None, None]
    hidden = pair.corrupted.missing[:, 0, ::2, ::2].flatten(1)  # the corruption hides whole patches
    tokens = functional.conv2d(pixels, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=2)
    tokens = tokens.flatten(2).transpose(1, 2) + weights["pos_embed"][:, 1:]
    first = (weights["cls_token"] + weights["pos_embed"][:, :1]).expand(4, -1, -1)
    x = torch.cat([first, tokens[~hidden].view(4, -1, 16)], dim=1)
    for number in range(2):
        x = published.attend(x, weights, f"blocks.{number}", 2)
    latents = functional.layer_norm(x, (16,), weights["norm.weight"], weights["norm.bias"], 1e-6)
    x = latents @ weights["decoder_embed.weight"].T + weights["decoder_embed.bias"]
    placed = weights["mask_token"].expand(4, 16, 8).clone()
    placed[~hidden] = x[:, 1:].reshape(-1, 8)
    x = torch.cat([x[:, :1], placed], dim=1) + weights["decoder_pos_embed"]
    x = published.attend(x, weights, "decoder_blocks.0", 2)
    x = functional.layer_norm(x, (8,), weights["decoder_norm.weight"], weights["decoder_norm.bias"], 1e-6)
    return latents, (x @ weights["decoder_pred.weight"].T + weights["decoder_pred.bias"])[:, 1:]


def test_computes_what_the_published_code_computes(file: Path, pair: Pair) -> None:
    made = _read(file)
    assert (made.layout, made.sha256, made.whole) == ("facebookresearch/mae", digests.of_file(file), True)
    latents, patches = _as_published(published.mae(), pair)
    view = made.generator.draw_view(pair.corrupted, Draws(0, 4))
    with torch.no_grad():
        torch.testing.assert_close(made.generator.encode(pair, view)[0], latents, atol=1e-5, rtol=1e-4)
        picture = made.generator.reconstruct(pair.corrupted, Draws(0, 4))
    # unpatchify: "nhwpqc->nchpwq", then off ImageNet's scale
    drawn = patches.view(4, 4, 4, 2, 2, 3).permute(0, 5, 1, 3, 2, 4).reshape(4, 3, 8, 8)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    drawn = ((drawn * deviation[:, None, None] + mean[:, None, None]) * 2 - 1).clamp(-1, 1)
    torch.testing.assert_close(picture, torch.where(pair.corrupted.missing, drawn, pair.clean), atol=1e-5, rtol=1e-4)


def test_visible_pixels_are_bit_identical_whatever_the_scale_inside(file: Path, pair: Pair) -> None:
    picture = _read(file).generator.reconstruct(pair.corrupted, Draws(0, 4))
    seen = ~pair.corrupted.missing.expand_as(picture)
    assert torch.equal(picture[seen], pair.corrupted.images[seen])


def test_the_loss_is_taken_on_the_networks_own_scale(file: Path, pair: Pair) -> None:
    """As published: the squared error of pixels that ImageNet's mean and deviation have normalised."""
    generator = _read(file).generator
    _, patches = _as_published(published.mae(), pair)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((pair.clean + 1) / 2 - mean[:, None, None]) / deviation[:, None, None]
    truth = pixels.view(4, 3, 4, 2, 4, 2).permute(0, 2, 4, 3, 5, 1).reshape(4, 16, 12)  # "nchpwq->nhwpqc"
    hidden = pair.corrupted.missing[:, 0, ::2, ::2].flatten(1)
    expected = ((patches - truth).square().mean(-1) * hidden).sum(1) / hidden.sum(1)
    torch.testing.assert_close(
        generator.loss(pair, generator.draw_view(pair.corrupted, Draws(0, 4))), expected, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_a_hugging_face_folder_is_the_same_network(file: Path, tmp_path: Path, ending: str) -> None:
    made = _read(published.transformers_folder(tmp_path / "vit-mae-tiny", ending))
    assert made.layout == "transformers ViTMAE"
    expected = _read(file).generator.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in made.generator.state_dict().items())


def test_what_training_scripts_keep_beside_the_weights_is_left_behind(tmp_path: Path, file: Path) -> None:
    """mae_pretrain_*_full.pth holds the optimizer, the epoch and the command line as a Namespace."""
    full = published.saved(tmp_path / "full.pth", published.mae(), **published.command_line())
    expected = _read(file).generator.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in _read(full).generator.state_dict().items())


def test_our_own_safetensors_load_as_they_are(file: Path, tmp_path: Path) -> None:
    import safetensors.torch

    generator = _read(file).generator
    safetensors.torch.save_file(generator.state_dict(), tmp_path / "model.safetensors")
    again = _read(tmp_path / "model.safetensors").generator.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in generator.state_dict().items())


def test_images_of_another_size_get_the_published_positions_of_their_own_grid(file: Path) -> None:
    generator = _read(file, size=12).generator
    assert torch.equal(generator.pos_embed, published.sincos_positions(6, 16))  # type: ignore[arg-type]
    assert torch.equal(generator.decoder_pos_embed, published.sincos_positions(6, 8))  # type: ignore[arg-type]


def test_positions_that_were_learnt_are_not_replaced(tmp_path: Path) -> None:
    tensors = published.mae()
    tensors["pos_embed"] = tensors["pos_embed"] + 0.5
    with pytest.raises(CheckpointError, match=r"pos_embed is \[1, 17, 16\], \[1, 37, 16\] expected"):
        _read(published.saved(tmp_path / "learnt.pth", tensors), size=12)


def test_reading_leaves_the_global_stream_alone(file: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _read(file)
    assert torch.equal(torch.rand(3), expected)


def test_an_encoder_alone_is_refused_and_the_right_file_named(tmp_path: Path) -> None:
    alone = {name: value for name, value in published.mae().items() if not name.startswith(("decoder", "mask_token"))}
    path = published.saved(tmp_path / "mae_pretrain_vit_base.pth", alone)
    with pytest.raises(CheckpointError, match=r"holds an encoder only.*mae_visualize_vit_base\.pth"):
        _read(path)


@pytest.mark.parametrize("unsaid", ["pixels", "normalise_pixels"])
def test_what_the_file_cannot_say_the_recipe_must(file: Path, unsaid: str) -> None:
    fields = {name: value for name, value in published.TINY_MAE.items() if name != unsaid}
    with pytest.raises(ParamsError, match=f"does not say its {unsaid}, so params.yaml must"):
        MaeRecipe(**fields).build_from(file, 8, 3)


def test_imagenet_pixels_are_rgb() -> None:
    with pytest.raises(ParamsError, match="RGB and the images have 1 channel"):
        MaeRecipe(**published.TINY_MAE).build(8, 1)


def test_the_first_three_offenders_are_named(tmp_path: Path) -> None:
    tensors = published.mae()
    del tensors["cls_token"]
    tensors["norm.weight"] = torch.zeros(5)
    tensors["patch_embed.proj.wieght"] = tensors.pop("patch_embed.proj.weight")
    tensors["head.bias"] = torch.zeros(10)
    with pytest.raises(CheckpointError) as refusal:
        _read(published.saved(tmp_path / "wrong.pth", tensors))
    assert "wrong.pth: the weights are not those of the recipe: " in str(refusal.value)
    assert "cls_token is missing, [1, 1, 16] expected" in str(refusal.value)
    assert "patch_embed.proj.weight is missing, [16, 3, 2, 2] expected" in str(refusal.value)
    assert "norm.weight is [5], [16] expected (and 2 more)" in str(refusal.value)


def test_a_folder_of_other_sizes_is_refused(tmp_path: Path) -> None:
    folder = published.transformers_folder(tmp_path / "other", num_attention_heads=4)
    with pytest.raises(CheckpointError, match=r"num_attention_heads is 4, 2 expected"):
        _read(folder)


def test_a_folder_without_a_part_of_attention_is_refused(tmp_path: Path) -> None:
    folder = published.transformers_folder(tmp_path / "part", "bin")
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    del tensors["vit.encoder.layer.1.attention.attention.key.bias"]
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"blocks\.1\.attn\.qkv\.bias is \[32\], \[48\] expected"):
        _read(folder)


class _Trap:
    """Unpickling it would leave a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_pickle_is_never_run(tmp_path: Path) -> None:
    torch.save({"model": published.mae(), "extra": _Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    (tmp_path / "raw.bin").write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    for name in ("trap.pth", "raw.bin"):
        with pytest.raises(CheckpointError, match="not readable without running pickle"):
            _read(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_checkpoint_is_refused_in_words(tmp_path: Path, file: Path) -> None:
    (tmp_path / "damaged.pth").write_bytes(file.read_bytes()[:1000])
    (tmp_path / "damaged.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    (tmp_path / "notes.txt").write_text("weights")
    (tmp_path / "empty").mkdir()
    broken = published.mae()
    broken["norm.bias"][3] = float("nan")
    published.saved(tmp_path / "nan.pth", broken)
    published.saved(tmp_path / "epoch.pth", {}, epoch=3)
    published.saved(tmp_path / "other.pth", {"conv1.weight": torch.zeros(3)})
    for name, said in {
        "absent.pth": "No such file",
        "damaged.pth": "damaged, or not readable",
        "damaged.safetensors": "not a safetensors file",
        "notes.txt": "not a weights file by its name",
        "empty": "no weights in this folder",
        "nan.pth": "norm.bias holds a number that is not finite",
        "epoch.pth": "no tensors by name",
        "other.pth": "its first names are conv1.weight",
    }.items():
        with pytest.raises(CheckpointError, match=said):
            _read(tmp_path / name)
