"""Masked autoencoder: He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022.

Names of the weights are those of facebookresearch/mae, so that its checkpoints fit. The family is deterministic: its
view is the order of the tokens, visible ones first, a pure function of the hole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from unlearning.abilities import Drawing, Layered
from unlearning.contracts import Generator, GeneratorRecipe, Published
from unlearning.errors import ParamsError
from unlearning.generators import _mae_layouts, _weights

Size = Literal["tiny", "small", "base", "large", "huge"]

# base, large and huge are the published ones; tiny and small are ours, for pictures of 8 to 64 pixels.
_SIZES: dict[Size, dict[str, int]] = {
    "tiny": dict(patch=2, width=96, depth=4, heads=3, decoder_width=64, decoder_depth=1, decoder_heads=2),
    "small": dict(patch=4, width=192, depth=6, heads=6, decoder_width=128, decoder_depth=2, decoder_heads=4),
    "base": dict(patch=16, width=768, depth=12, heads=12, decoder_width=512, decoder_depth=8, decoder_heads=16),
    "large": dict(patch=16, width=1024, depth=24, heads=16, decoder_width=512, decoder_depth=8, decoder_heads=16),
    "huge": dict(patch=14, width=1280, depth=32, heads=16, decoder_width=512, decoder_depth=8, decoder_heads=16),
}


class MaeRecipe(GeneratorRecipe, kind="mae"):
    """A ViT encoder over visible patches, and a narrower ViT decoder over all of them."""

    abilities: ClassVar[tuple[type[Generator], ...]] = (Drawing, Layered)

    size: Size = Field("tiny", description="preset of the seven numbers below; any of them may be given beside it")
    patch: int = Field(2, gt=0, description="side of a patch, pixels; must divide the image size")
    width: int = Field(96, gt=0, description="channels of an encoder token; a multiple of 4 and of heads")
    depth: int = Field(4, gt=0, description="encoder blocks")
    heads: int = Field(3, gt=0, description="attention heads of the encoder")
    decoder_width: int = Field(64, gt=0, description="channels of a decoder token; a multiple of 4 and decoder_heads")
    decoder_depth: int = Field(1, ge=0, description="decoder blocks")
    decoder_heads: int = Field(2, gt=0, description="attention heads of the decoder")
    normalise_pixels: bool = Field(False, description="predict pixels normalised per patch (the paper's best features)")
    pixels: Literal["signed", "imagenet"] = Field(
        "signed", description="scale inside the network: [-1, 1], or ImageNet's mean and deviation as published"
    )

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        """The recipe as it is kept names every number, whatever the preset was: presets may change, weights do not."""
        if not isinstance(given, dict):
            return given
        return {**_SIZES.get(given.get("size", "tiny"), {}), **given}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for prefix in ("", "decoder_"):
            width, heads = getattr(self, f"{prefix}width"), getattr(self, f"{prefix}heads")
            if width % 4 or width % heads:
                raise ValueError(
                    f"{prefix}width is {width}: it must be a multiple of 4 (positions) and of {prefix}heads, {heads}"
                )
        return self

    def build(self, image_size: int, channels: int) -> Generator:
        """Random weights from torch's global seed. Raises ParamsError if the patch does not divide the image size."""
        if image_size % self.patch or image_size == self.patch:
            fitting = [p for p in range(1, image_size) if image_size % p == 0]
            raise ParamsError(
                f"generator 'mae': patch {self.patch} does not cut an image of {image_size} x {image_size} pixels into "
                f"equal patches; one of {', '.join(map(str, fitting))} does"
            )
        from unlearning.generators._vit import MaskedAutoencoder  # timm takes seconds to import: only who builds waits

        return MaskedAutoencoder(
            grid=image_size // self.patch,
            patch=self.patch,
            channels=channels,
            encoder=(self.width, self.depth, self.heads),
            decoder=(self.decoder_width, self.decoder_depth, self.decoder_heads),
            normalise_pixels=self.normalise_pixels,
            pixels=self.pixels,
        )

    def build_from(self, path: Path, image_size: int, channels: int) -> Published:
        """A facebookresearch/mae file, or a Hugging Face ViTMAE folder.

        No file says what its pixels were, so the recipe must: `pixels: imagenet` for all that were published;
        `normalise_pixels: true` for mae_pretrain_*_full.pth, false for mae_visualize_*.pth and for folders converted
        from them. Images of another size than the file's get positions of their own grid.
        Raises CheckpointError for an encoder-only file, another layout or other sizes; ParamsError for an unsaid scale.
        """
        unsaid = sorted({"pixels", "normalise_pixels"} - self.model_fields_set)
        if unsaid:
            raise ParamsError(
                f"generator 'mae': a weights file does not say its {' and '.join(unsaid)}, so params.yaml must; the "
                f"published ones have pixels: imagenet, and normalise_pixels: true if named _full, else false"
            )
        source = _weights.read(path)
        layout, tensors = _mae_layouts.mapped(source, self._sizes(image_size, channels))
        with torch.random.fork_rng(devices=[]):
            generator = self.build(image_size, channels)
        _weights.put(generator, tensors, source.name)
        return Published(generator.eval(), layout, source.sha256)

    def _sizes(self, image_size: int, channels: int) -> dict[str, int]:
        """As a Hugging Face config.json names them."""
        return {
            "image_size": image_size,
            "num_channels": channels,
            "patch_size": self.patch,
            "hidden_size": self.width,
            "num_hidden_layers": self.depth,
            "num_attention_heads": self.heads,
            "decoder_hidden_size": self.decoder_width,
            "decoder_num_hidden_layers": self.decoder_depth,
            "decoder_num_attention_heads": self.decoder_heads,
        }
