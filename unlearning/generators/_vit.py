"""The network of the masked autoencoder, from timm's blocks.

B images, L patches of p x p pixels, V of them visible; D channels of an encoder token, d of a decoder token. Tokens
stay in `order`, visible first, in both halves: positions are gathered by the same order, so nothing is ever put back in
place but the finished pixels.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from unlearning.abilities import Drawing, Layered
from unlearning.generators._pixels import PixelScale, Scale
from unlearning.generators._tokens import hidden_tokens, refuse_other_size, rows_of, sincos_positions, visible_count
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Latents, Missing, Pair, PerImage, View


class MaskedAutoencoder(Drawing, Layered):
    """D(E(T(x))) with E blind to every patch that has a missing pixel."""

    view_is_fixed: ClassVar[bool] = True
    pos_embed: Tensor  # [1, 1 + L, D]
    decoder_pos_embed: Tensor  # [1, 1 + L, d]

    def __init__(
        self,
        grid: int,
        patch: int,
        channels: int,
        encoder: tuple[int, int, int],
        decoder: tuple[int, int, int],
        normalise_pixels: bool,
        pixels: Scale = "signed",
    ) -> None:
        super().__init__()
        self.patch, self.normalise_pixels = patch, normalise_pixels
        self.pixels = PixelScale(pixels, channels)
        width, depth, heads = encoder
        self.patch_embed = PatchEmbed(grid * patch, patch, channels, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("pos_embed", sincos_positions(grid, width))
        self.blocks = nn.ModuleList(block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

        width_in, (width, depth, heads) = width, decoder
        self.decoder_embed = nn.Linear(width_in, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("decoder_pos_embed", sincos_positions(grid, width))
        self.decoder_blocks = nn.ModuleList(block(width, heads) for _ in range(depth))
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_pred = nn.Linear(width, patch * patch * channels)
        self._initialise()

    def _initialise(self) -> None:
        """As published: Xavier for every linear map, the patch embedding as if it were one."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.data.flatten(1))
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        """(order [B, L],): patches in reading order, those wholly visible first. Nothing is drawn.

        Raises ParamsError if images differ in how many patches are visible, or if none is.
        """
        hidden = self._hidden(corrupted.missing)
        visible_count(hidden, "mae", self.patch)
        return (hidden.to(torch.uint8).argsort(dim=1, stable=True),)

    def encode(self, pair: Pair, view: View) -> Latents:
        """([B, 1 + V, D],): the class token and the visible ones, after the last LayerNorm."""
        return self._encode(pair.corrupted, view)

    def depths(self, pair: Pair, view: View) -> Latents:
        """[B, 1 + V, D] each: after every block, the last after the last LayerNorm, too."""
        tokens, made = self._embedded(pair.corrupted, view), list[Tensor]()
        for block in self.blocks:
            tokens = block(tokens)
            made.append(tokens)
        return (*made[:-1], self.norm(tokens))

    def _encode(self, corrupted: Corrupted, view: View) -> Latents:
        tokens = self._embedded(corrupted, view)
        for block in self.blocks:
            tokens = block(tokens)
        return (self.norm(tokens),)

    def _embedded(self, corrupted: Corrupted, view: View) -> Tensor:
        """The class token and the visible patches where they stand, [B, 1 + V, D]."""
        (order,) = view
        shown = order[:, : visible_count(self._hidden(corrupted.missing), "mae", self.patch)]  # [B, V]
        patches = rows_of(self._patches(self.pixels(corrupted.images)), shown)  # [B, V, p p C]
        weight = self.patch_embed.proj.weight.permute(0, 2, 3, 1).flatten(1)  # [D, C, p, p] -> [D, p p C]
        tokens = functional.linear(patches, weight, self.patch_embed.proj.bias) + self.pos_embed[0, 1:][shown]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        return torch.cat([first, tokens], dim=1)

    def decode(self, latents: Latents, view: View) -> Tensor:
        """Pixels of the missing patches, in the view's order: [B, 1 + V, D] -> [B, L - V, p p C]."""
        (order,), tokens = view, self.decoder_embed(latents[0])  # [B, 1 + V, d]
        invented = self.mask_token.expand(len(order), order.shape[1] + 1 - tokens.shape[1], -1)
        places = torch.cat(
            [self.decoder_pos_embed[:, 0].expand(len(order), 1, -1), self.decoder_pos_embed[0, 1:][order]], 1
        )
        tokens = torch.cat([tokens, invented], dim=1) + places  # [B, 1 + L, d]
        for block in self.decoder_blocks:
            tokens = block(tokens)
        drawn: Tensor = self.decoder_pred(self.decoder_norm(tokens[:, -invented.shape[1] :]))
        return drawn

    def loss(self, pair: Pair, view: View) -> PerImage:
        """Mean squared error over an image's missing pixels, all channels alike, in the network's pixel scale: [B]."""
        predicted = self.decode(self.encode(pair, view), view).float()
        hidden = view[0][:, -predicted.shape[1] :]
        truth = rows_of(self._patches(self.pixels(pair.clean)), hidden)
        if self.normalise_pixels:
            truth = (truth - truth.mean(-1, keepdim=True)) / (truth.var(-1, keepdim=True) + 1e-6).sqrt()
        missing = pair.corrupted.missing.expand_as(pair.clean)
        counted = rows_of(self._patches(missing.to(truth.dtype)), hidden)  # a patch may be missing in part
        return ((predicted - truth).square() * counted).sum(dim=(1, 2)) / counted.sum(dim=(1, 2))

    def draw(self, pair: Pair, view: View) -> Images:
        """The visible pixels as they are, the missing ones from the decoder."""
        return self._draw(pair.corrupted, view)

    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        """As `draw`, clamped to [-1, 1]."""
        drawn = self._draw(corrupted, self.draw_view(corrupted, draws))
        return torch.where(corrupted.missing, drawn.clamp(-1, 1), corrupted.images)

    def _draw(self, corrupted: Corrupted, view: View) -> Images:
        """With `normalise_pixels` a missing patch's own mean and contrast are unknown: the visible pixels' stand in."""
        invented = self.decode(self._encode(corrupted, view), view).float()
        if self.normalise_pixels:
            mean, deviation = _visible_statistics(self.pixels(corrupted.images), corrupted.missing)
            invented = invented * deviation + mean
        order = view[0][:, -invented.shape[1] :, None].expand_as(invented)
        patches = self._patches(self.pixels(corrupted.images))
        drawn = self._images(patches.scatter(1, order, invented.to(patches.dtype)), corrupted.images)
        return torch.where(corrupted.missing, self.pixels.back(drawn), corrupted.images)

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        """cls_token, patch_embed, blocks and norm; positions are fixed."""
        mine = ("cls_token", "patch_embed.", "blocks.", "norm.")
        return {name: weight for name, weight in self.named_parameters() if name.startswith(mine)}

    def _hidden(self, missing: Missing) -> Tensor:
        """[B, L] bool: patches with a missing pixel, even one. Raises ParamsError for images of another size."""
        refuse_other_size(missing, self.pos_embed.shape[1] - 1, self.patch, "mae")
        return hidden_tokens(missing, self.patch)

    def _patches(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, L, p p C], pixels of a patch row by row, channels innermost (as published)."""
        refuse_other_size(images, self.pos_embed.shape[1] - 1, self.patch, "mae")
        b, c, h, w = images.shape
        p = self.patch
        return (
            images.view(b, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1).reshape(b, (h // p) * (w // p), p * p * c)
        )

    def _images(self, patches: Tensor, like: Images) -> Images:
        """[B, L, p p C] -> [B, C, H, W]."""
        b, c, h, w = like.shape
        p = self.patch
        return patches.view(b, h // p, w // p, p, p, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)


def block(width: int, heads: int) -> nn.Module:
    """One transformer block, LayerNorm before each half, as in every network of this family."""
    made: nn.Module = Block(width, heads, mlp_ratio=4.0, qkv_bias=True, norm_layer=partial(nn.LayerNorm, eps=1e-6))
    return made


def _visible_statistics(images: Images, missing: Missing) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each image's visible pixels, [B, 1, 1] each."""
    seen = (~missing).expand_as(images).flatten(1).float()
    pixels, count = images.float().flatten(1), seen.sum(dim=1, keepdim=True)
    mean = (pixels * seen).sum(dim=1, keepdim=True) / count
    variance = ((pixels - mean).square() * seen).sum(dim=1, keepdim=True) / count
    return mean[..., None], (variance + 1e-6).sqrt()[..., None]
