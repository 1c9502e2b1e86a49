"""The network of MAGE: a ViT encoder over the codes that are visible, a ViT decoder that guesses the others.

B images, L codes a picture, V of them visible, U = L - V not; D channels of an encoder token, d of a decoder token.
Tokens stay in `order`, visible first, in both halves, as in `_vit.py`. The first token of every sequence is a class
slot that no class fills; what the decoder makes of it stands at every place that is to be guessed, as published.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from unlearning.abilities import Layered
from unlearning.contracts import Generator
from unlearning.generators._frozen import thawed
from unlearning.generators._tokens import hidden_tokens, refuse_other_size, rows_of, visible_count
from unlearning.generators._vit import block
from unlearning.generators._vqgan import Tokenizer
from unlearning.generators._vqvae import LearningTokenizer
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Latents, Missing, Pair, PerImage, View

CLASSES = 1_000  # the vocabulary has room for ImageNet's classes after the codes; they are never used
CLASS_SLOT = 76  # of these, the one that stands for "a picture"


class MaskedGenerator(Layered):
    """D(E(codes of T(x))), E blind to every code whose patch has a missing pixel."""

    view_is_fixed: ClassVar[bool] = True
    fill: Tensor  # [1, C, 1, 1]

    def __init__(
        self,
        tokenizer: Tokenizer,
        grid: int,
        patch: int,
        codes: int,
        encoder: tuple[int, int, int],
        decoder: tuple[int, int, int],
        fill: tuple[float, ...],
        margin: int,
        keep_hidden: bool,
        smoothing: float,
        iterations: int,
        temperature: float,
        reads: Literal["clean", "corrupted"],
    ) -> None:
        super().__init__()
        self.constants_are_of = reads
        self.vqgan = tokenizer
        self.grid, self.patch, self.codes, self.margin, self.keep_hidden = grid, patch, codes, margin, keep_hidden
        self.smoothing, self.iterations, self.temperature = smoothing, iterations, temperature
        self.register_buffer("fill", torch.tensor(fill).view(1, -1, 1, 1), persistent=False)

        width, depth, heads = encoder
        self.token_emb = _Embedding(codes + CLASSES + 1, 1 + grid**2, width)
        self.blocks = nn.ModuleList(block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

        inner, depth, heads = decoder
        self.decoder_embed = nn.Linear(width, inner)
        self.decoder_pos_embed_learned = nn.Parameter(torch.zeros(1, 1 + grid**2, inner))
        self.decoder_blocks = nn.ModuleList(block(inner, heads) for _ in range(depth))
        self.decoder_norm = nn.LayerNorm(inner, eps=1e-6)
        self.mlm_layer = _Guess(inner, width, codes + CLASSES + 1)
        self._initialise()

    def _initialise(self) -> None:
        """As published: Xavier for linear maps, N(0, 0.02^2) for tables; the output starts as the input's table."""
        for module in [*self.blocks.modules(), self.decoder_embed, *self.decoder_blocks.modules(), self.mlm_layer.fc]:
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        words, places = self.token_emb.word_embeddings.weight, self.token_emb.position_embeddings.weight
        for table in (words, places, self.decoder_pos_embed_learned):
            nn.init.normal_(table, std=0.02)
        self.mlm_layer.weight.data.copy_(words.data)

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        """(order [B, L],): codes in reading order, those wholly visible first. Nothing is drawn.

        Raises ParamsError if images differ in how many codes are visible, or if none is.
        """
        hidden = self._hidden(corrupted.missing)
        visible_count(hidden, "mage", self.patch)
        return (_visible_first(hidden),)

    def encode(self, pair: Pair, view: View) -> Latents:
        """([B, 1 + V, D],): the class slot and the visible codes, after the last LayerNorm; 1 + L if hidden are kept.

        The codes are those of T(x), its hole filled with one colour: a code beside the hole knows nothing of it. With
        `reads` clean they are those of x, as in published training: a code beside the hole has seen into it.
        """
        return (self._encode(self._read(pair), view[0], self._visible(pair.corrupted.missing)),)

    def depths(self, pair: Pair, view: View) -> Latents:
        """As `encode`, after every block; the last after the last LayerNorm, too."""
        tokens = self._embedded(self._read(pair), view[0], self._visible(pair.corrupted.missing))
        made = list[Tensor]()
        for part in self.blocks:
            tokens = part(tokens)
            made.append(tokens)
        return (*made[:-1], self.norm(tokens))

    def loss(self, pair: Pair, view: View) -> PerImage:
        """Cross entropy of an image's hidden codes, label smoothing as published, averaged over them: [B]."""
        (order,), visible = view, self._visible(pair.corrupted.missing)
        codes = self._read(pair)
        latents = self._encode(codes, order, visible)
        logs = self._decode(latents, order, visible).float().log_softmax(dim=-1)  # [B, U, codes]
        clean = codes if self.constants_are_of == "clean" else self.vqgan.codes(pair.clean)
        truth = clean.gather(1, order[:, visible:])  # [B, U]
        right = logs.gather(2, truth[..., None])[..., 0]
        return -((1 - self.smoothing) * right + self.smoothing * logs.mean(dim=-1)).mean(dim=1)

    @torch.no_grad()
    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        """MaskGIT's decoding (Chang et al., CVPR 2022), a whole batch at once; visible pixels come back untouched.

        Each iteration guesses all hidden codes and keeps the surest, with Gumbel noise that cools down, until
        cos(pi / 2 * progress) of all codes are hidden.
        """
        codes, hidden = self.read(corrupted), self._hidden(corrupted.missing)
        count = hidden.shape[1] - visible_count(hidden, "mage", self.patch)
        for step in range(1, self.iterations + 1):
            progress = step / self.iterations
            left = math.floor(hidden.shape[1] * math.cos(math.pi / 2 * progress))
            if left < count:
                heat = self.temperature * (1 - progress)
                codes, hidden = self._settle(codes, hidden, count, left, heat, draws.at("iteration", step))
                count = left
        drawn = self.vqgan.images(codes).clamp(-1, 1).to(corrupted.images.dtype)
        return torch.where(corrupted.missing, drawn, corrupted.images)

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        """token_emb, blocks and norm. The output has a table of its own, so that moving these leaves D alone."""
        mine = ("token_emb.", "blocks.", "norm.")
        return {name: weight for name, weight in self.named_parameters() if name.startswith(mine)}

    def first_stage(self) -> LearningTokenizer:
        """The tokenizer, as one that learns."""
        return LearningTokenizer(thawed(self.vqgan))

    def settle(self, first_stage: Generator) -> None:
        """The tokenizer that learnt becomes this one's; `self.fill` and the transformer are as they were."""
        assert isinstance(first_stage, LearningTokenizer)
        self.vqgan.load_state_dict(first_stage.tokenizer.state_dict())

    def read(self, corrupted: Corrupted) -> Tensor:
        """Codes of T(x), its hole filled with ImageNet's mean colour as published: [B, L] int64."""
        return self.vqgan.codes(torch.where(corrupted.missing, self.fill, corrupted.images))

    def constants(self, pair: Pair) -> Tensor:
        """The codes that `encode` reads, [B, L] int64."""
        return self.vqgan.codes(pair.clean) if self.constants_are_of == "clean" else self.read(pair.corrupted)

    def _read(self, pair: Pair) -> Tensor:
        return self.constants(pair) if pair.known.constant is None else pair.known.constant

    def _settle(
        self, codes: Tensor, hidden: Tensor, count: int, left: int, heat: float, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """Draw the `count` hidden codes and keep the surest; `left` stay hidden. Codes and hidden, both [B, L]."""
        order = _visible_first(hidden)
        visible, unknown = hidden.shape[1] - count, order[:, -count:]  # unknown [B, U]: places
        chances = self._decode(self._encode(codes, order, visible), order, visible).float().softmax(-1)
        odds = chances.cumsum(-1)  # [B, U, codes]
        ticket = draws.at("code").uniform(hidden.shape[1]).gather(1, unknown)[..., None] * odds[..., -1:]
        drawn = torch.searchsorted(odds, ticket, right=True).clamp(max=self.codes - 1)  # [B, U, 1]
        chance, drawn = chances.gather(2, drawn)[..., 0].clamp(min=1e-30), drawn[..., 0]
        noise = draws.at("sure").uniform(hidden.shape[1]).gather(1, unknown).clamp(min=1e-20).log().neg().log().neg()
        sure = (chance.log() + heat * noise).topk(count - left, dim=1).indices
        places = unknown.gather(1, sure)
        return codes.scatter(1, places, drawn.gather(1, sure)), hidden.scatter(1, places, False)

    def _encode(self, codes: Tensor, order: Tensor, visible: int) -> Tensor:
        """[B, L] codes -> [B, 1 + V, D]."""
        tokens = self._embedded(codes, order, visible)
        for part in self.blocks:
            tokens = part(tokens)
        made: Tensor = self.norm(tokens)
        return made

    def _embedded(self, codes: Tensor, order: Tensor, visible: int) -> Tensor:
        """[B, L] codes -> [B, 1 + V, D], before the first block."""
        shown = order[:, :visible]
        words = codes.gather(1, shown)
        if self.keep_hidden:
            shown = order
            words = functional.pad(words, (0, order.shape[1] - visible), value=self.codes + CLASSES)
        words = functional.pad(words, (1, 0), value=self.codes + CLASS_SLOT)
        tokens: Tensor = self.token_emb(words, functional.pad(1 + shown, (1, 0)))
        return tokens

    def _decode(self, latents: Tensor, order: Tensor, visible: int) -> Tensor:
        """[B, 1 + V, D] -> [B, U, codes]."""
        tokens = self.decoder_embed(latents[:, : 1 + visible])  # [B, 1 + V, d]
        guessed = tokens[:, :1].expand(-1, order.shape[1] - visible, -1)
        table = self.decoder_pos_embed_learned
        places = rows_of(table.expand(len(order), -1, -1), functional.pad(1 + order, (1, 0)))  # [B, 1 + L, d]
        tokens = torch.cat([tokens, guessed], dim=1) + places
        for part in self.decoder_blocks:
            tokens = part(tokens)
        logits: Tensor = self.mlm_layer(self.decoder_norm(tokens[:, 1 + visible :]), self.codes)
        return logits

    def _hidden(self, missing: Missing) -> Tensor:
        """[B, L] bool: codes whose patch, or whose ring of `margin` patches, has a missing pixel."""
        refuse_other_size(missing, self.grid**2, self.patch, "mage")
        return hidden_tokens(missing, self.patch, self.margin)

    def _visible(self, missing: Missing) -> int:
        return visible_count(self._hidden(missing), "mage", self.patch)


class _Embedding(nn.Module):
    """Word and place, added and normalised. The published one drops out 0.1 in training; a shared view must not."""

    def __init__(self, words: int, places: int, width: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(words, width)
        self.position_embeddings = nn.Embedding(places, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, words: Tensor, places: Tensor) -> Tensor:
        """[B, K], [B, K] int64 -> [B, K, D]."""
        made: Tensor = self.LayerNorm(self.word_embeddings(words) + self.position_embeddings(places))
        return made


class _Guess(nn.Module):
    """Logits from a table of words that is the decoder's own; published, it is the encoder's, and moves with it."""

    def __init__(self, width: int, word_width: int, words: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, word_width)
        self.ln = nn.LayerNorm(word_width)
        self.weight = nn.Parameter(torch.zeros(words, word_width))
        self.bias = nn.Parameter(torch.zeros(1, 1, words))

    def forward(self, tokens: Tensor, codes: int) -> Tensor:
        """[B, U, d] -> [B, U, codes]: the words that are codes."""
        features = self.ln(functional.gelu(self.fc(tokens)))
        logits: Tensor = functional.linear(features, self.weight[:codes]) + self.bias[..., :codes]
        return logits


def _visible_first(hidden: Tensor) -> Tensor:
    """[B, L] bool -> [B, L] int64: places in reading order, the hidden ones last."""
    return hidden.to(torch.uint8).argsort(dim=1, stable=True)
