"""Tiny files and folders in exactly the published key layouts: names, nesting and structure, random numbers."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

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
