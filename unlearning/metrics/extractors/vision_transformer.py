"""CLIP's and DINO's vision transformers, through timm, from the files that their authors publish.

CLIP: Radford et al., ICML 2021, in the layout of OpenCLIP (Cherti et al., CVPR 2023); the feature is the projected
image embedding. DINO: Caron et al., ICCV 2021; DINOv2: Oquab et al., TMLR 2024; the feature is the normalised
class token. Sizes are read off the tensors, so a member of any width, depth or patch will do. Pictures are resized
with bicubic interpolation (antialiased) and normalised as published.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearning.errors import CheckpointError
from unlearning.metrics.extractors import weights
from unlearning.metrics.extractors.extractor import Extractor, as_rgb
from unlearning.types import Images

CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "vit_*-*.pt")
DINO_FILES = ("dinov2_vit*_pretrain.pth", "dino_vit*_pretrain.pth", "dino_deit*_pretrain.pth")
_CLIP_COLOURS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_IMAGENET_COLOURS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MOST_SIDE = 224  # pixels: DINOv2's positions are for 518, and are interpolated, as its authors do
_HEADS = {1280: 16, 1408: 16, 1664: 16}  # of the widths whose heads are not 64 wide


def clip(device: torch.device, named: Path | None = None) -> Extractor | str:
    """CLIP's image embedding; the reason where its weights are not on this machine."""
    found = weights.find(CLIP_FILES, named)
    return found if isinstance(found, str) else clip_of(found, device)


def dino(device: torch.device, named: Path | None = None) -> Extractor | str:
    """DINO's or DINOv2's class token; the reason where its weights are not on this machine."""
    found = weights.find(DINO_FILES, named)
    return found if isinstance(found, str) else dino_of(found, device)


def clip_of(found: weights.Found, device: torch.device) -> Extractor:
    """Of one file, which may hold the text tower too. Raises CheckpointError if it is of another layout."""
    every = found.tensors
    mine = {name: value for name, value in every.items() if name.startswith("visual.")}
    try:
        width, _, patch, _ = mine["visual.conv1.weight"].shape
        tokens, projected = len(mine["visual.positional_embedding"]), mine["visual.proj"].shape[1]
    except KeyError as error:
        raise CheckpointError(f"{found.path.name}: not an OpenCLIP vision transformer, it has no {error}") from None
    from timm.layers import QuickGELU

    network = _built(
        {
            **_sizes(width, patch, patch * math.isqrt(tokens - 1), _depth(mine, "visual.transformer.resblocks.")),
            "num_classes": projected,
            "pre_norm": True,
            "norm_layer": nn.LayerNorm,
            # OpenAI's networks, and those OpenCLIP names so, were trained with the quick form of GELU.
            "act_layer": QuickGELU if "quickgelu" in found.path.name or "openai" in found.path.name else None,
        },
        mine,
        found,
    )
    said = f"CLIP ViT of width {width}, patch {patch} ({found.path.name}, {projected} features)"
    return Extractor(said, found.sha256, _Shown(network, _CLIP_COLOURS).to(device), device)


def dino_of(found: weights.Found, device: torch.device) -> Extractor:
    """Of one file. Raises CheckpointError if it is of another layout, SwiGLU's included."""
    tensors = found.tensors
    try:
        width, _, patch, _ = tensors["patch_embed.proj.weight"].shape
        tokens = tensors["pos_embed"].shape[1]
    except KeyError as error:
        raise CheckpointError(f"{found.path.name}: not a DINO vision transformer, it has no {error}") from None
    registers, second = tensors.get("register_tokens"), "mask_token" in tensors
    side = min(patch * math.isqrt(tokens - 1), _MOST_SIDE // patch * patch)
    network = _built(
        {
            **_sizes(width, patch, side, _depth(tensors, "blocks.")),
            "num_classes": 0,
            "init_values": 1e-5 if second else None,
            "reg_tokens": 0 if registers is None else registers.shape[1],
            "no_embed_class": registers is not None,
        },
        tensors,
        found,
    )
    said = f"DINO{'v2' if second else ''} ViT of width {width}, patch {patch} ({found.path.name}, {width} features)"
    return Extractor(said, found.sha256, _Shown(network, _IMAGENET_COLOURS).to(device), device)


def _sizes(width: int, patch: int, side: int, depth: int) -> dict[str, int]:
    heads = _HEADS.get(width, max(1, width // 64))
    return {"img_size": side, "patch_size": patch, "embed_dim": width, "depth": depth, "num_heads": heads}


def _depth(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return 1 + max(
        (int(name.removeprefix(prefix).split(".")[0]) for name in tensors if name.startswith(prefix)), default=-1
    )


def _built(sizes: Mapping[str, object], tensors: dict[str, Tensor], found: weights.Found) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

    with torch.random.fork_rng(devices=[]):
        network = VisionTransformer(global_pool="token", **sizes)
    try:
        converted = checkpoint_filter_fn(tensors, network)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{found.path.name}: not the layout that its name promises ({error})") from None
    return weights.put(network, converted, found)


class _Shown(nn.Module):
    """[B, C, H, W] in [-1, 1] as the network was shown its pictures."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, colours: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
        super().__init__()
        self.network, self.side = network, int(network.patch_embed.img_size[0])  # type: ignore[union-attr, index]
        for name, values in zip(("mean", "deviation"), colours, strict=True):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)
        self.resized = partial(F.interpolate, size=(self.side, self.side), mode="bicubic", antialias=True)

    def forward(self, images: Images) -> Tensor:
        pictures = ((as_rgb(images) + 1) / 2 - self.mean) / self.deviation
        features: Tensor = self.network(self.resized(pictures))
        return features
