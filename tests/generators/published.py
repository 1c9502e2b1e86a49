"""Tiny files and folders in exactly the published key layouts: names, nesting and structure, random numbers."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

from unlearning.generators._tokens import sincos_positions

# The sizes of one tiny ViT for 8 x 8 RGB pictures, as recipe fields.
TINY_MAE: dict[str, Any] = {
    "patch": 2,
    "width": 16,
    "depth": 2,
    "heads": 2,
    "decoder_width": 8,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "pixels": "imagenet",
    "normalise_pixels": False,
}


class Numbers:
    """Random tensors, one after another."""

    def __init__(self, seed: int = 0) -> None:
        self._stream = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._stream) * 0.2


def block(numbers: Numbers, home: str, width: int) -> dict[str, Tensor]:
    """One timm block, as facebookresearch and MAGE name it."""
    shapes = {
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "attn.qkv.weight": (3 * width, width),
        "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "mlp.fc1.weight": (4 * width, width),
        "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width),
        "mlp.fc2.bias": (width,),
    }
    return {f"{home}.{name}": numbers(*shape) for name, shape in shapes.items()}


def attend(x: Tensor, weights: dict[str, Tensor], home: str, heads: int) -> Tensor:
    """One published block, restated plainly: pre-norm attention, pre-norm GELU network."""
    w = {name.removeprefix(f"{home}."): value for name, value in weights.items() if name.startswith(f"{home}.")}
    b, length, width = x.shape
    h = functional.layer_norm(x, (width,), w["norm1.weight"], w["norm1.bias"], 1e-6)
    q, k, v = (h @ w["attn.qkv.weight"].T + w["attn.qkv.bias"]).chunk(3, dim=-1)
    q, k, v = (part.view(b, length, heads, -1).transpose(1, 2) for part in (q, k, v))
    scores = (q @ k.transpose(-1, -2) / (width // heads) ** 0.5).softmax(-1)
    h = (scores @ v).transpose(1, 2).reshape(b, length, width)
    x = x + h @ w["attn.proj.weight"].T + w["attn.proj.bias"]
    h = functional.layer_norm(x, (width,), w["norm2.weight"], w["norm2.bias"], 1e-6)
    h = functional.gelu(h @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"])
    return x + h @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"]


def mae(grid: int = 4, width: int = 16, depth: int = 2, decoder: int = 8, decoder_depth: int = 1) -> dict[str, Tensor]:
    """What mae_visualize_vit_*.pth holds under 'model'."""
    numbers, pixels = Numbers(), 2 * 2 * 3
    tensors = {
        "cls_token": numbers(1, 1, width),
        "pos_embed": sincos_positions(grid, width),
        "mask_token": numbers(1, 1, decoder),
        "decoder_pos_embed": sincos_positions(grid, decoder),
        "patch_embed.proj.weight": numbers(width, 3, 2, 2),
        "patch_embed.proj.bias": numbers(width),
        "norm.weight": numbers(width),
        "norm.bias": numbers(width),
        "decoder_embed.weight": numbers(decoder, width),
        "decoder_embed.bias": numbers(decoder),
        "decoder_norm.weight": numbers(decoder),
        "decoder_norm.bias": numbers(decoder),
        "decoder_pred.weight": numbers(pixels, decoder),
        "decoder_pred.bias": numbers(pixels),
    }
    for number in range(depth):
        tensors |= block(numbers, f"blocks.{number}", width)
    for number in range(decoder_depth):
        tensors |= block(numbers, f"decoder_blocks.{number}", decoder)
    return tensors


def saved(path: Path, tensors: dict[str, Tensor], wrapper: str | None = "model", **beside: Any) -> Path:
    """A training script's file: the weights under `wrapper`, and what it keeps beside them."""
    torch.save(tensors if wrapper is None else {wrapper: tensors, **beside}, path)
    return path


def command_line() -> dict[str, Any]:
    """What MAE's and MAGE's scripts store beside the weights."""
    return {"optimizer": {"state": {}, "param_groups": []}, "epoch": 799, "args": Namespace(lr=1.5e-4, mask_ratio=0.75)}


def transformers_folder(folder: Path, ending: str = "safetensors", **changes: Any) -> Path:
    """A Hugging Face ViTMAE folder with the same numbers as `mae()`."""
    folder.mkdir()
    config = {
        "architectures": ["ViTMAEForPreTraining"],
        "model_type": "vit_mae",
        "image_size": 8,
        "patch_size": 2,
        "num_channels": 3,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "decoder_hidden_size": 8,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 32,
        "norm_pix_loss": True,
    }
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    tensors = _as_transformers(mae())
    if ending == "safetensors":
        safetensors.torch.save_file(tensors, folder / "model.safetensors")
    else:
        torch.save(tensors, folder / "pytorch_model.bin")
    return folder


def _as_transformers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that ViTMAEForPreTraining has for them; query, key and value apart."""
    outside = {
        "cls_token": "vit.embeddings.cls_token",
        "pos_embed": "vit.embeddings.position_embeddings",
        "patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
        "norm": "vit.layernorm",
        "mask_token": "decoder.mask_token",
        "decoder_pos_embed": "decoder.decoder_pos_embed",
        "decoder_embed": "decoder.decoder_embed",
        "decoder_norm": "decoder.decoder_norm",
        "decoder_pred": "decoder.decoder_pred",
    }
    inside = {
        "norm1": "layernorm_before",
        "attn.proj": "attention.output.dense",
        "norm2": "layernorm_after",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    renamed = {}
    for name, value in tensors.items():
        stem, _, kind = name.rpartition(".")
        if not name.startswith(("blocks.", "decoder_blocks.")):
            renamed[outside[name] if name in outside else f"{outside[stem]}.{kind}"] = value
            continue
        home, number, part = stem.split(".", 2)
        layer = f"{'vit.encoder.layer' if home == 'blocks' else 'decoder.decoder_layers'}.{number}"
        if part == "attn.qkv":
            for word, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                renamed[f"{layer}.attention.attention.{word}.{kind}"] = third.clone()
        else:
            renamed[f"{layer}.{inside[part]}.{kind}"] = value
    return renamed


# One tiny MAGE for 8 x 8 RGB pictures, as recipe fields: 3 levels, so patches of 4 pixels and 4 codes a picture.
TINY_MAGE: dict[str, Any] = {
    "tokenizer_width": 8,
    "tokenizer_multiples": (1, 1, 2),
    "tokenizer_blocks": 2,
    "codes": 32,
    "code_width": 8,
    "width": 16,
    "depth": 2,
    "heads": 2,
    "decoder_width": 12,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "iterations": 5,
}


def vqgan(multiples: tuple[int, ...] = (1, 1, 2), ch: int = 8, codes: int = 32, z: int = 8) -> dict[str, Tensor]:
    """What vqgan_jax_strongaug.ckpt holds: convolutions without bias, no attention, no quant_conv."""
    numbers, widths = Numbers(1), [ch * multiple for multiple in multiples]
    tensors = {"quantize.embedding.weight": numbers(codes, z)}

    def norm(home: str, width: int) -> None:
        tensors[f"{home}.weight"], tensors[f"{home}.bias"] = 1 + numbers(width), numbers(width)

    def residual(home: str, incoming: int, width: int) -> None:
        norm(f"{home}.norm1", incoming)
        tensors[f"{home}.conv1.weight"] = numbers(width, incoming, 3, 3)
        norm(f"{home}.norm2", width)
        tensors[f"{home}.conv2.weight"] = numbers(width, width, 3, 3)
        if incoming != width:
            tensors[f"{home}.nin_shortcut.weight"] = numbers(width, width, 1, 1)

    def ends(half: str, widest: int, last: int, out: int, kernel: int) -> None:
        residual(f"{half}.mid.block_1", widest, widest)
        residual(f"{half}.mid.block_2", widest, widest)
        norm(f"{half}.norm_out", last)
        tensors[f"{half}.conv_out.weight"] = numbers(out, last, kernel, kernel)
        tensors[f"{half}.conv_out.bias"] = numbers(out)

    tensors["encoder.conv_in.weight"] = numbers(ch, 3, 3, 3)
    incoming = ch
    for level, width in enumerate(widths):
        for number in range(2):
            residual(f"encoder.down.{level}.block.{number}", incoming, width)
            incoming = width
    ends("encoder", widths[-1], widths[-1], z, 1)
    tensors["decoder.conv_in.weight"], tensors["decoder.conv_in.bias"] = (
        numbers(widths[-1], z, 3, 3),
        numbers(widths[-1]),
    )
    for level in reversed(range(len(widths))):
        for number in range(2):
            residual(f"decoder.up.{level}.block.{number}", incoming, widths[level])
            incoming = widths[level]
        if level:
            home = f"decoder.up.{level}.upsample.conv"
            tensors[f"{home}.weight"], tensors[f"{home}.bias"] = numbers(incoming, incoming, 3, 3), numbers(incoming)
    ends("decoder", widths[-1], widths[0], 3, 3)
    return tensors


def mage(width: int = 16, inner: int = 12, places: int = 5, codes: int = 32) -> dict[str, Tensor]:
    """What mage-vitb-1600.pth holds under 'model': its VQ-GAN, and leftovers of MAE that no forward pass reads."""
    numbers, words = Numbers(2), codes + 1001
    tensors = {f"vqgan.{name}": value for name, value in vqgan(codes=codes).items()}
    tensors |= {
        "cls_token": numbers(1, 1, width),
        "pos_embed": numbers(1, places, width),
        "mask_token": numbers(1, 1, inner),
        "decoder_pos_embed": numbers(1, places, inner),
        "decoder_pos_embed_learned": numbers(1, places, inner),
        "token_emb.position_ids": torch.arange(places)[None],
        "token_emb.word_embeddings.weight": numbers(words, width),
        "token_emb.position_embeddings.weight": numbers(places, width),
        "token_emb.LayerNorm.weight": numbers(width),
        "token_emb.LayerNorm.bias": numbers(width),
        "patch_embed.proj.weight": numbers(width, 3, 16, 16),
        "patch_embed.proj.bias": numbers(width),
        "norm.weight": numbers(width),
        "norm.bias": numbers(width),
        "decoder_embed.weight": numbers(inner, width),
        "decoder_embed.bias": numbers(inner),
        "decoder_norm.weight": numbers(inner),
        "decoder_norm.bias": numbers(inner),
        "decoder_pred.weight": numbers(768, inner),
        "decoder_pred.bias": numbers(768),
        "mlm_layer.fc.weight": numbers(width, inner),
        "mlm_layer.fc.bias": numbers(width),
        "mlm_layer.ln.weight": numbers(width),
        "mlm_layer.ln.bias": numbers(width),
        "mlm_layer.bias": numbers(1, 1, words),
    }
    for number in range(2):
        tensors |= block(numbers, f"blocks.{number}", width)
    return {**tensors, **block(numbers, "decoder_blocks.0", inner)}


# One tiny Palette for 8 x 8 RGB pictures, as recipe fields.
TINY_PALETTE: dict[str, Any] = {
    "network": "guided",
    "widths": (8, 16),
    "layers": 1,
    "attention_levels": 1,
    "head_width": 8,
    "train_steps": 20,
    "sample_steps": 3,
}


def palette() -> dict[str, Tensor]:
    """What *_Network.pth holds: a flat state dict of denoise_fn.* and the schedule's buffers."""
    numbers, tensors = Numbers(3), dict[str, Tensor]()

    def affine(home: str, *shape: int) -> None:
        tensors[f"denoise_fn.{home}.weight"], tensors[f"denoise_fn.{home}.bias"] = numbers(*shape), numbers(shape[0])

    def residual(home: str, incoming: int, width: int) -> None:
        affine(f"{home}.in_layers.0", incoming)
        affine(f"{home}.in_layers.2", width, incoming, 3, 3)
        affine(f"{home}.emb_layers.1", 2 * width, 32)
        affine(f"{home}.out_layers.0", width)
        affine(f"{home}.out_layers.3", width, width, 3, 3)
        if incoming != width:
            affine(f"{home}.skip_connection", width, incoming, 1, 1)

    def attention(home: str, width: int) -> None:
        affine(f"{home}.norm", width)
        affine(f"{home}.qkv", 3 * width, width, 1)
        affine(f"{home}.proj_out", width, width, 1)

    affine("cond_embed.0", 32, 8)
    affine("cond_embed.2", 32, 32)
    affine("input_blocks.0.0", 8, 6, 3, 3)
    residual("input_blocks.1.0", 8, 8)
    residual("input_blocks.2.0", 8, 8)  # halves the side
    residual("input_blocks.3.0", 8, 16)
    attention("input_blocks.3.1", 16)
    residual("middle_block.0", 16, 16)
    attention("middle_block.1", 16)
    residual("middle_block.2", 16, 16)
    for number, (incoming, width) in enumerate([(32, 16), (24, 16), (24, 8), (16, 8)]):
        residual(f"output_blocks.{number}.0", incoming, width)
        if number < 2:
            attention(f"output_blocks.{number}.1", width)
    residual("output_blocks.1.2", 16, 16)  # doubles the side
    affine("out.0", 8)
    affine("out.2", 3, 8, 3, 3)
    for name in ("gammas", "sqrt_recip_gammas", "sqrt_recipm1_gammas", "posterior_log_variance_clipped"):
        tensors[name] = torch.ones(20)
    tensors["posterior_mean_coef1"] = tensors["posterior_mean_coef2"] = torch.ones(20)
    return tensors
