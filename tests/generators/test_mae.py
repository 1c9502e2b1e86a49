from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests import toys
from unlearning.corruptions.border import Border
from unlearning.corruptions.center_hole import CenterHole
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.errors import ParamsError
from unlearning.generators._tokens import sincos_positions
from unlearning.generators._vit import MaskedAutoencoder
from unlearning.generators.mae import MaeRecipe
from unlearning.randomness import Draws
from unlearning.recipe import Choice
from unlearning.types import Corrupted, Pair


def _mae(size: int = 8, channels: int = 1, **fields: Any) -> MaskedAutoencoder:
    torch.manual_seed(0)
    generator = MaeRecipe(**{**toys.SMALL_MAE, **fields}).build(size, channels)
    assert isinstance(generator, MaskedAutoencoder)
    return generator


def test_weights_have_the_published_names_and_shapes() -> None:
    """ViT-B of facebookresearch/mae, mae_visualize_vit_base: 111.9 M parameters with both position tables."""
    with torch.device("meta"):
        generator = MaeRecipe(size="base").build(224, 3)
    shapes = {name: tuple(value.shape) for name, value in generator.state_dict().items()}
    rooms = {name.split(".")[0] for name in shapes}
    assert rooms == {
        "cls_token",
        "pos_embed",
        "mask_token",
        "decoder_pos_embed",
        "patch_embed",
        "blocks",
        "norm",
        "decoder_embed",
        "decoder_blocks",
        "decoder_norm",
        "decoder_pred",
    }
    assert shapes["pos_embed"] == (1, 197, 768)
    assert shapes["decoder_pos_embed"] == (1, 197, 512)
    assert shapes["patch_embed.proj.weight"] == (768, 3, 16, 16)
    assert shapes["blocks.11.attn.qkv.weight"] == (2304, 768)
    assert shapes["decoder_blocks.7.mlp.fc1.weight"] == (2048, 512)
    assert shapes["decoder_pred.weight"] == (768, 512)
    assert sum(value.numel() for value in generator.state_dict().values()) == 111_907_840


def test_positions_are_the_published_table() -> None:
    """sin and cos of column / 10000^(2k / (D/2)), then of the row; nothing for the class token."""
    table = sincos_positions(3, 8)[0]
    column, row = 2, 1
    angles = [place / 10_000 ** (k / 2) for place in (column, row) for k in range(2)]
    expected = torch.tensor(angles).view(2, 2)
    expected = torch.cat([expected.sin(), expected.cos()], dim=1).flatten()
    torch.testing.assert_close(table[1 + row * 3 + column], expected)
    assert not table[0].any()


def test_the_encoder_is_blind_to_the_hole() -> None:
    generator, pair = _mae(), toys.pair("retain")
    view = generator.draw_view(pair.corrupted, Draws(0, 4))
    shown = torch.where(pair.corrupted.missing, torch.randn_like(pair.clean), pair.clean)
    filled = Pair(pair.clean, Corrupted(shown, pair.corrupted.missing), pair.rows)
    assert torch.equal(generator.encode(pair, view)[0], generator.encode(filled, view)[0])


def test_the_patch_embedding_is_the_convolution_it_is_named_after() -> None:
    generator, images = _mae(channels=3), toys.pictures("retain", 2, 3)
    patches = generator._patches(images)
    weight = generator.patch_embed.proj.weight.permute(0, 2, 3, 1).flatten(1)
    linear = functional.linear(patches, weight, generator.patch_embed.proj.bias)
    torch.testing.assert_close(linear, generator.patch_embed(images), atol=1e-6, rtol=1e-5)
    assert torch.equal(generator._images(patches, images), images)


def test_what_the_decoder_draws_lands_where_pixels_are_missing() -> None:
    """With a decoder that writes each patch's own index, every missing pixel says where it is."""
    generator, pair = _mae(decoder_width=16, decoder_depth=0), toys.pair("retain")
    generator.decoder_norm = nn.Identity()  # type: ignore[assignment]
    with torch.no_grad():
        for weight in (generator.mask_token, generator.decoder_pos_embed, generator.decoder_pred.bias):
            weight.zero_()
        index = torch.arange(16.0)
        generator.decoder_pos_embed[0, 1:, 0] = index / 16
        generator.decoder_pred.weight.zero_()
        generator.decoder_pred.weight[:, 0] = 1.0
        picture = generator.reconstruct(pair.corrupted, Draws(0, 4))
    places = (index / 16).view(1, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3).expand_as(picture)
    assert torch.equal(picture, torch.where(pair.corrupted.missing, places, pair.clean))


@pytest.mark.parametrize("corruption", [RandomPatches(), CenterHole(side=0.4), Border(sixteenths=3)])
def test_the_loss_is_the_mean_squared_error_of_the_missing_pixels(
    corruption: RandomPatches | CenterHole | Border,
) -> None:
    """Also where the hole cuts patches: hidden from the encoder as a whole, scored where they are missing."""
    generator = _mae().eval()
    pair = toys.pair("retain", corruption=corruption)
    pair = Pair(pair.clean * 0.1, Corrupted(pair.corrupted.images * 0.1, pair.corrupted.missing), pair.rows)
    with torch.no_grad():  # a picture is clamped to [-1, 1]: keep it inside
        generator.decoder_pred.weight.mul_(0.01)
        picture = generator.reconstruct(pair.corrupted, Draws(0, 4))
        loss = generator.loss(pair, generator.draw_view(pair.corrupted, Draws(0, 4)))
    error = (picture - pair.clean).square() * pair.corrupted.missing
    torch.testing.assert_close(loss, error.sum(dim=(1, 2, 3)) / pair.corrupted.missing.sum(dim=(1, 2, 3)))


def test_normalised_pixels_ignore_brightness_and_contrast_of_a_patch() -> None:
    generator, pair = _mae(normalise_pixels=True).eval(), toys.pair("retain")
    view = generator.draw_view(pair.corrupted, Draws(0, 4))
    brighter = torch.where(pair.corrupted.missing, pair.clean * 0.5 + 0.3, pair.clean)
    first = generator.loss(pair, view)
    second = generator.loss(Pair(brighter, pair.corrupted, pair.rows), view)
    torch.testing.assert_close(first, second, rtol=2e-2, atol=1e-3)


def test_refuses_holes_of_unequal_size() -> None:
    generator, images = _mae(), toys.pictures("retain", 2)
    missing = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    missing[:, :, :2, :2] = True
    missing[1, :, 4:, 4:] = True
    with pytest.raises(ParamsError, match="11 to 15 whole patches"):
        generator.draw_view(Corrupted(images, missing), Draws(0, 2))


def test_refuses_a_hole_that_touches_every_patch() -> None:
    generator, images = _mae(), toys.pictures("retain", 2)
    missing = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    missing[:, :, ::2, ::2] = True
    with pytest.raises(ParamsError, match="touches every patch"):
        generator.draw_view(Corrupted(images, missing), Draws(0, 2))


def test_refuses_images_of_another_size() -> None:
    with pytest.raises(ParamsError, match="built for images of 8 x 8 pixels, given 16 x 16"):
        _mae()._patches(torch.zeros(1, 1, 16, 16))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"patch": 3}, "patch 3 does not cut an image of 8 x 8 pixels"),
        ({"width": 30, "heads": 2}, "width is 30: it must be a multiple of 4"),
        ({"width": 16, "heads": 3}, "heads, 3"),
        ({"decoder_width": 10}, "decoder_width is 10"),
        ({"size": "enormous"}, "'size'"),
        ({"depht": 3}, "no key 'depht'; keys that exist there: decoder_depth"),
    ],
)
def test_refuses_a_recipe_that_cannot_be_built(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        MaeRecipe.chosen(Choice.model_validate({"kind": "mae", **fields})).build(8, 1)


def test_a_preset_is_written_out_and_may_be_overridden() -> None:
    recipe = MaeRecipe(size="base", patch=8)
    assert (recipe.patch, recipe.width, recipe.decoder_depth) == (8, 768, 8)
    assert MaeRecipe.chosen(Choice.model_validate(recipe.model_dump())) == recipe
