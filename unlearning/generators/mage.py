"""MAGE: Li et al., "MAGE: MAsked Generative Encoder to Unify Representation Learning and Image Synthesis", CVPR 2023.

A VQ-GAN writes a picture as codes, one a patch; an encoder reads the visible ones, a decoder guesses the others:

    E_x mean_i over hidden codes CE(D(E(visible codes))_i, code_i), label smoothing 0.1

Unlearning never moves the VQ-GAN. Without one in `model.weights` it is trained first, on the images of the model it is
for (`_vqvae.py`): the reference's has never seen the forget set, so the codes of the two mean different things.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from unlearning.abilities import Layered
from unlearning.contracts import Generator, GeneratorRecipe, Published
from unlearning.errors import ParamsError
from unlearning.generators import _mage_layouts, _weights
from unlearning.generators._pixels import IMAGENET_MEAN
from unlearning.params import Budget

Size = Literal["tiny", "base", "large"]

# base and large are the published ones, with one and the same VQ-GAN; tiny is ours, for pictures of 8 to 64 pixels.
_VQGAN = dict(tokenizer_width=128, tokenizer_multiples=(1, 1, 2, 2, 4), tokenizer_blocks=2, codes=1024, code_width=256)
_TINY_VQGAN = dict(tokenizer_width=16, tokenizer_multiples=(1, 2), tokenizer_blocks=1, codes=64, code_width=16)
_SIZES: dict[Size, dict[str, Any]] = {
    "tiny": dict(
        **_TINY_VQGAN, width=96, depth=4, heads=3, decoder_width=64, decoder_depth=2, decoder_heads=2, margin=0
    ),
    "base": dict(**_VQGAN, width=768, depth=12, heads=12, decoder_width=768, decoder_depth=8, decoder_heads=16),
    "large": dict(**_VQGAN, width=1024, depth=24, heads=16, decoder_width=1024, decoder_depth=8, decoder_heads=16),
}


class MageRecipe(GeneratorRecipe, kind="mage"):
    """A frozen VQ-GAN, a ViT encoder over visible codes, and a ViT decoder over all of them."""

    abilities: ClassVar[tuple[type[Generator], ...]] = (Layered,)

    size: Size = Field("tiny", description="preset of the numbers below; any of them may be given beside it")
    tokenizer_width: int = Field(16, gt=0, description="channels of the VQ-GAN that its multiples multiply")
    tokenizer_multiples: tuple[int, ...] = Field(
        (1, 2), min_length=1, description="a level of the VQ-GAN, finest first; n levels make patches of 2^(n-1) pixels"
    )
    tokenizer_blocks: int = Field(1, gt=0, description="residual blocks a level of the VQ-GAN")
    codes: int = Field(64, gt=1, description="entries of the codebook")
    code_width: int = Field(16, gt=0, description="channels of an entry")
    width: int = Field(96, gt=0, description="channels of an encoder token; a multiple of heads")
    depth: int = Field(4, gt=0, description="encoder blocks")
    heads: int = Field(3, gt=0, description="attention heads of the encoder")
    decoder_width: int = Field(64, gt=0, description="channels of a decoder token; a multiple of decoder_heads")
    decoder_depth: int = Field(2, ge=0, description="decoder blocks")
    decoder_heads: int = Field(2, gt=0, description="attention heads of the decoder")
    tokenizer_steps: int = Field(
        500, ge=0, description="of training the VQ-GAN before all else where none is published; 0 leaves it random"
    )
    tokenizer_learning_rate: float = Field(2e-3, gt=0, description="peak of AdamW's learning rate in these steps")
    pixels: Literal["signed", "unit"] = Field(
        "unit", description="scale inside the VQ-GAN: [-1, 1], or published [0, 1]"
    )
    margin: int = Field(
        0, ge=0, description="rings of patches hidden around the hole; 1 in the published in-painting, for one hole"
    )
    keep_hidden: bool = Field(
        False, description="give the encoder a mask token at each hidden place, as published decoding does; else none"
    )
    reads: Literal["corrupted", "clean"] = Field(
        "corrupted",
        description="whose codes the encoder is trained on; clean as published: tokenised once whatever the hole, but "
        "a code beside the hole has seen into it (a margin hides those)",
    )
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing of the training loss")
    iterations: int = Field(20, gt=0, description="rounds of decoding; published: 20 in in-painting")
    temperature: float = Field(6.0, ge=0, description="of the choice which codes to keep; published: 6 in in-painting")

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
            if width % heads:
                raise ValueError(f"{prefix}width is {width}: it must be a multiple of {prefix}heads, {heads}")
        if any(multiple < 1 for multiple in self.tokenizer_multiples):
            raise ValueError("every one of tokenizer_multiples must be at least 1")
        return self

    @property
    def patch(self) -> int:
        """Pixels a side of what one code stands for."""
        return int(2 ** (len(self.tokenizer_multiples) - 1))

    def build(self, image_size: int, channels: int) -> Generator:
        """Random weights from torch's global seed. Raises ParamsError if the patch does not divide the image size."""
        if image_size % self.patch or image_size == self.patch:
            raise ParamsError(
                f"generator 'mage': {len(self.tokenizer_multiples)} levels make patches of {self.patch} pixels, which "
                f"do not cut an image of {image_size} x {image_size} into equal ones; another number of "
                f"tokenizer_multiples does"
            )
        from unlearning.generators._mage import MaskedGenerator  # timm takes seconds to import: only who builds waits
        from unlearning.generators._vqgan import Sizes, Tokenizer

        sizes = Sizes(
            self.tokenizer_width, self.tokenizer_multiples, self.tokenizer_blocks, self.codes, self.code_width
        )
        mean = (
            IMAGENET_MEAN if channels == len(IMAGENET_MEAN) else (sum(IMAGENET_MEAN) / len(IMAGENET_MEAN),) * channels
        )
        return MaskedGenerator(
            tokenizer=Tokenizer(sizes, channels, self.pixels),
            grid=image_size // self.patch,
            patch=self.patch,
            codes=self.codes,
            encoder=(self.width, self.depth, self.heads),
            decoder=(self.decoder_width, self.decoder_depth, self.decoder_heads),
            fill=tuple(2 * part - 1 for part in mean),
            margin=self.margin,
            keep_hidden=self.keep_hidden,
            smoothing=self.smoothing,
            iterations=self.iterations,
            temperature=self.temperature,
            reads=self.reads,
        )

    def first_stage_budget(self, original: Budget) -> Budget | None:
        """The original's, but for steps and speed; nothing decays, a code that is rarely used would decay to 0."""
        return original.of_first_stage(self.tokenizer_steps, self.tokenizer_learning_rate)

    def build_from(self, path: Path, image_size: int, channels: int) -> Published:
        """A MAGE file, a VQ-GAN file, or a folder that holds both.

        Of a VQ-GAN alone only the tokenizer is published: the rest is random and wants training (`whole` is False).
        Raises CheckpointError for another layout or other sizes.
        """
        found = _mage_layouts.read(path)
        with torch.random.fork_rng(devices=[]):
            generator = self.build(image_size, channels)
        if found.whole:
            _weights.put(generator, found.tensors, found.name)
        else:
            _weights.put(generator.vqgan, found.tensors, found.name)  # type: ignore[arg-type]  # the one module of it
        return Published(generator.eval(), found.layout, found.sha256, found.whole)
