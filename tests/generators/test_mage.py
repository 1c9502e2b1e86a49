"""MAGE against plain re-statements of the published code, and what unlearning needs of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests import toys
from tests.generators import published
from tests.generators.published import TINY_MAGE
from unlearning.corruptions.center_hole import CenterHole
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.errors import ParamsError
from unlearning.generators._mage import MaskedGenerator
from unlearning.generators.mage import MageRecipe
from unlearning.randomness import Draws
from unlearning.recipe import Choice
from unlearning.scopes.all import All
from unlearning.scopes.encoder import Encoder
from unlearning.types import Corrupted, Pair


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published.saved(tmp_path_factory.mktemp("mage") / "mage-tiny.pth", published.mage())


@pytest.fixture
def pair() -> Pair:
    """Two of an image's four codes are hidden."""
    return toys.pair("retain", channels=3, corruption=RandomPatches(patch=4))


def _read(file: Path, **fields: Any) -> MaskedGenerator:
    generator = MageRecipe(**{**TINY_MAGE, **fields}).build_from(file, 8, 3).generator
    assert isinstance(generator, MaskedGenerator)
    return generator


def _wide(**fields: Any) -> MaskedGenerator:
    """Random weights, 64 codes of 4 x 4 pixels a picture."""
    torch.manual_seed(0)
    generator = MageRecipe(**{**TINY_MAGE, **fields}).build(32, 3)
    assert isinstance(generator, MaskedGenerator)
    return generator.eval()


def _hole(count: int = 4, side: int = 32) -> Corrupted:
    images = Draws(0, count).at("images").uniform(3, side, side) * 2 - 1
    return CenterHole()(images, Draws(0, count))


# The published code, restated plainly over the file's tensors.


def _residual(w: dict[str, Tensor], home: str, x: Tensor) -> Tensor:
    h = x
    for number in (1, 2):
        width = h.shape[1]
        h = functional.group_norm(
            h, math.gcd(32, width), w[f"{home}.norm{number}.weight"], w[f"{home}.norm{number}.bias"], 1e-6
        )
        h = functional.conv2d(h * h.sigmoid(), w[f"{home}.conv{number}.weight"], padding=1)
    shortcut = w.get(f"{home}.nin_shortcut.weight")
    return (x if shortcut is None else functional.conv2d(h, shortcut)) + h


def _end(w: dict[str, Tensor], half: str, x: Tensor, padding: int) -> Tensor:
    x = functional.group_norm(
        x, math.gcd(32, x.shape[1]), w[f"{half}.norm_out.weight"], w[f"{half}.norm_out.bias"], 1e-6
    )
    return functional.conv2d(x * x.sigmoid(), w[f"{half}.conv_out.weight"], w[f"{half}.conv_out.bias"], padding=padding)


def _published_codes(w: dict[str, Tensor], images: Tensor) -> Tensor:
    x = functional.conv2d((images + 1) / 2, w["encoder.conv_in.weight"], padding=1)
    for level in range(3):
        for number in range(2):
            x = _residual(w, f"encoder.down.{level}.block.{number}", x)
        if level < 2:
            x = functional.avg_pool2d(x, 2, 2)
    x = _residual(w, "encoder.mid.block_2", _residual(w, "encoder.mid.block_1", x))
    z = _end(w, "encoder", x, 0).permute(0, 2, 3, 1).reshape(len(images), -1, 1, 8)
    return (z - w["quantize.embedding.weight"]).square().sum(-1).argmin(-1)


def _published_images(w: dict[str, Tensor], codes: Tensor) -> Tensor:
    z = w["quantize.embedding.weight"][codes].view(len(codes), 2, 2, 8).permute(0, 3, 1, 2)
    x = functional.conv2d(z, w["decoder.conv_in.weight"], w["decoder.conv_in.bias"], padding=1)
    x = _residual(w, "decoder.mid.block_2", _residual(w, "decoder.mid.block_1", x))
    for level in (2, 1, 0):
        for number in range(2):
            x = _residual(w, f"decoder.up.{level}.block.{number}", x)
        if level:
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            home = f"decoder.up.{level}.upsample.conv"
            x = functional.conv2d(x, w[f"{home}.weight"], w[f"{home}.bias"], padding=1)
    return _end(w, "decoder", x, 1) * 2 - 1


def _published_encoder(w: dict[str, Tensor], codes: Tensor, dropped: Tensor, masked: Tensor) -> Tensor:
    """forward_encoder: [B, L] codes -> [B, 1 + kept, 16]."""
    ids = torch.cat([torch.full((len(codes), 1), 32 + 76), codes.masked_fill(masked, 32 + 1000)], dim=1)
    x = w["token_emb.word_embeddings.weight"][ids] + w["token_emb.position_embeddings.weight"]
    x = functional.layer_norm(x, (16,), w["token_emb.LayerNorm.weight"], w["token_emb.LayerNorm.bias"], 1e-6)
    kept = torch.cat([torch.ones(len(codes), 1, dtype=torch.bool), ~dropped], dim=1)
    x = x[kept].view(len(codes), -1, 16)
    for number in range(2):
        x = published.attend(x, w, f"blocks.{number}", 2)
    return functional.layer_norm(x, (16,), w["norm.weight"], w["norm.bias"], 1e-6)


def _published_decoder(w: dict[str, Tensor], x: Tensor, dropped: Tensor, masked: Tensor) -> Tensor:
    """forward_decoder: logits of every place, [B, L, codes]."""
    x = x @ w["decoder_embed.weight"].T + w["decoder_embed.bias"]
    first = torch.zeros(len(x), 1, dtype=torch.bool)
    padded = x[:, :1].repeat(1, 1 + dropped.shape[1], 1)
    padded[~torch.cat([first, dropped], 1)] = x.reshape(-1, 12)
    padded = torch.where(torch.cat([first, masked], 1)[..., None], x[:, :1], padded)
    x = published.attend(padded + w["decoder_pos_embed_learned"], w, "decoder_blocks.0", 2)
    x = functional.layer_norm(x, (12,), w["decoder_norm.weight"], w["decoder_norm.bias"], 1e-6)
    x = functional.gelu(x @ w["mlm_layer.fc.weight"].T + w["mlm_layer.fc.bias"])
    x = functional.layer_norm(x, (16,), w["mlm_layer.ln.weight"], w["mlm_layer.ln.bias"], 1e-5)
    return (x @ w["token_emb.word_embeddings.weight"].T + w["mlm_layer.bias"])[:, 1:, :32]


def _hidden(pair: Pair) -> Tensor:
    return pair.corrupted.missing[:, 0, ::4, ::4].flatten(1)


def _filled(pair: Pair) -> Tensor:
    colour = torch.tensor([0.485, 0.456, 0.406])[:, None, None] * 2 - 1
    return torch.where(pair.corrupted.missing, colour, pair.clean)


def test_the_tokenizer_is_the_published_one(file: Path) -> None:
    generator, w = _read(file), published.vqgan()
    images = Draws(0, 16).uniform(3, 8, 8) * 2 - 1
    codes = _published_codes(w, images)
    assert torch.equal(generator.vqgan.codes(images), codes)
    assert len(codes.unique()) > 5
    torch.testing.assert_close(generator.vqgan.images(codes), _published_images(w, codes), atol=1e-4, rtol=1e-4)


def test_encoder_and_loss_are_the_published_ones(file: Path, pair: Pair) -> None:
    generator, w, hidden = _read(file), published.mage(), _hidden(pair)
    tokens = published.vqgan()
    latents = _published_encoder(w, _published_codes(tokens, _filled(pair)), hidden, hidden)
    view = generator.draw_view(pair.corrupted, Draws(0, 4))
    torch.testing.assert_close(generator.encode(pair, view)[0], latents, atol=1e-5, rtol=1e-4)

    logs = _published_decoder(w, latents, hidden, hidden).log_softmax(-1)
    truth = _published_codes(tokens, pair.clean)
    smoothed = -0.9 * logs.gather(2, truth[..., None])[..., 0] - 0.1 * logs.mean(-1)
    expected = (smoothed * hidden).sum(1) / hidden.sum(1)
    torch.testing.assert_close(generator.loss(pair, view), expected, atol=1e-5, rtol=1e-4)


def test_hidden_codes_may_stay_as_mask_tokens_as_in_published_decoding(file: Path, pair: Pair) -> None:
    generator, w, hidden = _read(file, keep_hidden=True), published.mage(), _hidden(pair)
    dropped = torch.zeros_like(hidden)
    latents = _published_encoder(w, _published_codes(published.vqgan(), _filled(pair)), dropped, hidden)
    view = generator.draw_view(pair.corrupted, Draws(0, 4))
    encoded = generator.encode(pair, view)[0]
    here = torch.cat([torch.zeros(4, 1, dtype=torch.int64), 1 + view[0]], dim=1)
    expected = latents.gather(1, here[..., None].expand(-1, -1, 16))
    torch.testing.assert_close(encoded, expected, atol=1e-5, rtol=1e-4)
    logits = _published_decoder(w, latents, dropped, hidden)[hidden].view(4, 2, 32)
    torch.testing.assert_close(generator._decode(encoded, view[0], 2), logits, atol=1e-4, rtol=1e-4)


def test_the_encoder_is_blind_to_the_hole(file: Path, pair: Pair) -> None:
    generator = _read(file)
    view = generator.draw_view(pair.corrupted, Draws(0, 4))
    noise = torch.where(pair.corrupted.missing, Draws(1, 4).normal(3, 8, 8), pair.clean)
    other = Pair(noise, Corrupted(noise, pair.corrupted.missing), pair.rows)
    assert torch.equal(generator.encode(pair, view)[0], generator.encode(other, view)[0])


def test_moving_the_encoder_leaves_the_decoder_bit_identical(file: Path, pair: Pair) -> None:
    """Published, the output table is the input table, and "encoder only" moves the decoder."""
    generator = _read(file)
    order = generator.draw_view(pair.corrupted, Draws(0, 4))[0]
    latents = generator.encode(pair, (order,))[0].detach()
    before = generator._decode(latents, order, 2)
    words = generator.token_emb.word_embeddings.weight
    assert torch.equal(generator.mlm_layer.weight, words)
    assert any(weight is words for weight in Encoder().parameters(generator).values())
    with torch.no_grad():
        for weight in Encoder().parameters(generator).values():
            weight.add_(0.5)
    assert torch.equal(generator._decode(latents, order, 2), before)
    assert not torch.equal(generator.encode(pair, (order,))[0], latents)


def test_the_tokenizer_is_in_no_scope_and_out_of_reach(file: Path) -> None:
    generator = _read(file).requires_grad_(True).train()
    for scope in (All(), Encoder()):
        assert not [name for name in scope.parameters(generator) if name.startswith("vqgan.")]
    assert not list(generator.vqgan.parameters())
    assert not any(part.training for part in generator.vqgan.modules())
    assert {name for name in generator.state_dict() if name.startswith("vqgan.")} == {
        f"vqgan.{name}" for name in published.vqgan()
    }


def test_codes_do_not_depend_on_the_precision_around(file: Path) -> None:
    generator, images = _read(file), Draws(0, 16).uniform(3, 8, 8) * 2 - 1
    codes = generator.vqgan.codes(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(generator.vqgan.codes(images), codes)
        assert generator.vqgan.images(codes).dtype == torch.float32


def test_a_sure_decoder_writes_the_true_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order in which they settle: what decoding puts together is the VQ-GAN's own picture."""
    generator, corrupted = _wide(), _hole()
    truth = torch.randint(32, (4, 64), generator=torch.Generator().manual_seed(0))

    def sure(latents: Tensor, order: Tensor, visible: int) -> Tensor:
        return functional.one_hot(truth.gather(1, order[:, visible:]), 32) * 200.0

    monkeypatch.setattr(generator, "_decode", sure)
    hidden = generator._hidden(corrupted.missing)
    written = generator.vqgan.images(torch.where(hidden, truth, generator.read(corrupted))).clamp(-1, 1)
    expected = torch.where(corrupted.missing, written, corrupted.images)
    torch.testing.assert_close(generator.reconstruct(corrupted, Draws(0, 4)), expected)


def test_codes_settle_along_the_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    """As published: after round k of K, floor(L cos(pi k / 2 K)) of all L codes are hidden; idle rounds are skipped."""
    generator, corrupted, left = _wide(iterations=8), _hole(), []
    settle = generator._settle

    def watched(codes: Tensor, hidden: Tensor, count: int, rest: int, heat: float, draws: Draws) -> Any:
        made = settle(codes, hidden, count, rest, heat, draws)
        assert (hidden.sum(1) == count).all()
        assert (made[1].sum(1) == rest).all()
        assert not (made[1] & ~hidden).any()
        assert torch.equal(made[0][~hidden], codes[~hidden])
        left.append((rest, round(heat, 6)))
        return made

    monkeypatch.setattr(generator, "_settle", watched)
    generator.reconstruct(corrupted, Draws(0, 4))
    hidden = int(generator._hidden(corrupted.missing)[0].sum())
    rounds = [(math.floor(64 * math.cos(math.pi / 2 * k / 8)), round(6 * (1 - k / 8), 6)) for k in range(1, 9)]
    assert left == [(rest, heat) for rest, heat in rounds if rest < hidden]
    assert left[-1] == (0, 0.0)


def test_codes_are_drawn_with_their_own_chances(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = _wide()
    chances = torch.full((32,), 1e-12)
    chances[[3, 7, 31]] = torch.tensor([0.2, 0.5, 0.3])
    monkeypatch.setattr(generator, "_encode", lambda codes, order, visible: codes)
    monkeypatch.setattr(
        generator, "_decode", lambda latents, order, visible: chances.log().expand(len(order), 64 - visible, -1)
    )
    hidden = torch.ones(100, 64, dtype=torch.bool)
    hidden[:, 0] = False
    codes, settled = generator._settle(torch.zeros(100, 64, dtype=torch.int64), hidden, 63, 0, 1.0, Draws(0, 100))
    assert not settled.any()
    shares = torch.bincount(codes[hidden], minlength=32) / hidden.sum()
    assert shares[[3, 7, 31]].tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.02)
    assert shares.sum() == pytest.approx(1.0)


def test_without_heat_the_surest_settle_first(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = _wide()
    sure = torch.arange(64.0)  # the further down the picture, the surer
    monkeypatch.setattr(generator, "_encode", lambda codes, order, visible: codes)
    monkeypatch.setattr(
        generator,
        "_decode",
        lambda latents, order, visible: functional.one_hot(torch.tensor(5), 32) * (10 + sure[order] / 10)[..., None],
    )
    hidden = torch.ones(2, 64, dtype=torch.bool)
    codes, left = generator._settle(torch.zeros(2, 64, dtype=torch.int64), hidden, 64, 40, 0.0, Draws(0, 2))
    assert torch.equal(left, (sure < 40).expand(2, -1))
    assert (codes[~left] == 5).all()


def test_a_picture_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    generator, corrupted = _wide(), _hole()
    whole = generator.reconstruct(corrupted, Draws(0, 4))
    part = Corrupted(corrupted.images[2:], corrupted.missing[2:])
    torch.testing.assert_close(generator.reconstruct(part, Draws(0, 2, first=2, total=4)), whole[2:], atol=1e-4, rtol=0)
    assert not torch.equal(generator.reconstruct(corrupted, Draws(1, 4)), whole)


def test_a_margin_hides_the_ring_around_the_hole() -> None:
    corrupted = _hole()
    near, wide = (_wide(margin=margin)._hidden(corrupted.missing)[0].view(8, 8) for margin in (0, 1))
    rows = near.any(1).nonzero()[:, 0]
    side = len(rows)
    assert near.sum() == side**2
    assert wide.sum() == (side + 2) ** 2
    assert wide[rows[0] - 1 : rows[-1] + 2, rows[0] - 1 : rows[-1] + 2].all()


def test_training_lowers_the_loss() -> None:
    student, pair = _wide().train(), _hole()
    pair = Pair(pair.images, pair, torch.arange(4))
    view = student.draw_view(pair.corrupted, Draws(0, 4))
    optimizer = torch.optim.AdamW(All().parameters(student).values(), lr=1e-2)
    losses = []
    for _ in range(25):
        loss = student.loss(pair, view).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_base_model_has_the_published_sizes() -> None:
    with torch.device("meta"):
        generator = MageRecipe(size="base").build(256, 3)
    shapes = {name: tuple(value.shape) for name, value in generator.state_dict().items()}
    assert shapes["token_emb.word_embeddings.weight"] == (2025, 768)
    assert shapes["token_emb.position_embeddings.weight"] == (257, 768)
    assert shapes["blocks.11.attn.qkv.weight"] == (2304, 768)
    assert shapes["decoder_pos_embed_learned"] == (1, 257, 768)
    assert shapes["decoder_blocks.7.mlp.fc1.weight"] == (3072, 768)
    assert shapes["mlm_layer.bias"] == (1, 1, 2025)
    assert shapes["vqgan.quantize.embedding.weight"] == (1024, 256)
    assert shapes["vqgan.encoder.down.4.block.0.nin_shortcut.weight"] == (512, 512, 1, 1)
    assert shapes["vqgan.encoder.conv_out.weight"] == (256, 512, 1, 1)
    assert shapes["vqgan.decoder.up.1.upsample.conv.weight"] == (128, 128, 3, 3)
    assert shapes["vqgan.decoder.conv_out.weight"] == (3, 128, 3, 3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tokenizer_multiples": [1, 1, 1, 1]}, "patches of 8 pixels, which do not cut an image of 8 x 8"),
        ({"width": 16, "heads": 3}, "width is 16: it must be a multiple of heads, 3"),
        ({"decoder_width": 10, "decoder_heads": 4}, "decoder_width is 10"),
        ({"tokenizer_multiples": [0, 1]}, "must be at least 1"),
        ({"iterations": 0}, "'iterations'"),
        ({"temprature": 3}, "no key 'temprature'"),
    ],
)
def test_refuses_a_recipe_that_cannot_be_built(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        MageRecipe.chosen(Choice.model_validate({"kind": "mage", **fields})).build(8, 3)


def test_refuses_images_of_another_size_and_holes_of_unequal_size() -> None:
    generator = _wide()
    with pytest.raises(ParamsError, match="built for images of 32 x 32 pixels, given 16 x 16"):
        generator.draw_view(_hole(side=16), Draws(0, 4))
    missing = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    missing[:, :, :4, :4] = True
    missing[1, :, 16:, 16:] = True
    with pytest.raises(ParamsError, match="'mage': images of one batch show 47 to 63 whole patches"):
        generator.draw_view(Corrupted(torch.zeros(2, 3, 32, 32), missing), Draws(0, 2))
