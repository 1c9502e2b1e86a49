"""Latent diffusion around diffusers' two networks: a U-Net in two halves, and a VAE that unlearning never moves.

B images, K channels of a latent, h x w latents a picture. Latents are k times the mean of the VAE's posterior: what a
latent is does not depend on a draw, so it may be computed once. Everything that a published folder says beside the
weights of the U-Net (VAE, k, c, schedule, what is predicted) stands in buffers: the reference takes them over.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional

from unlearning.abilities import Diffusing
from unlearning.contracts import Generator
from unlearning.generators._frozen import freeze, thawed
from unlearning.generators._kl_vae import LearningAutoencoder
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Latents, Missing, Pair, PerImage, View


@dataclass(frozen=True, slots=True)
class Schedule:
    """How noise is added, what of it is predicted, and how it is taken away again."""

    train_steps: int
    betas: tuple[float, float]  # first and last
    kind: Literal["scaled_linear", "linear"]
    prediction: Literal["epsilon", "v_prediction"]
    sample_steps: int
    eta: float  # 0 = DDIM, 1 = ancestral


class LatentDiffusion(Diffusing):
    """net([z_t, m, z'], t, c): [B, 2 K + 1, h, w], [B] -> [B, K, h, w]."""

    constants_are_of: Literal["nothing", "clean", "corrupted"] = "corrupted"
    encoder_names: ClassVar[tuple[str, ...]] = (
        "unet.conv_in.",
        "unet.time_embedding.",
        "unet.down_blocks.",
        "unet.mid_block.",
    )
    context: Tensor  # [tokens, C]
    betas: Tensor  # [T]
    predicts_velocity: Tensor  # [] bool
    scaling: Tensor  # [], k

    def __init__(self, unet: Mapping[str, Any], vae: Mapping[str, Any], tokens: int, schedule: Schedule) -> None:
        super().__init__()
        self.unet: Any = UNet2DConditionModel(**unet)
        # The way up reads the embedding of the time too. It has one of its own, so that moving E's leaves D alone.
        self.up_time_embedding = copy.deepcopy(self.unet.time_embedding)
        self.vae: Any = AutoencoderKL(**vae)
        freeze(self.vae)
        noising = DDIMScheduler(
            num_train_timesteps=schedule.train_steps,
            beta_start=schedule.betas[0],
            beta_end=schedule.betas[1],
            beta_schedule=schedule.kind,
        )
        self.register_buffer("betas", noising.betas)
        self.register_buffer("predicts_velocity", torch.tensor(schedule.prediction == "v_prediction"))
        self.register_buffer("scaling", torch.tensor(float(self.vae.config.scaling_factor)))
        self.register_buffer("context", torch.zeros(tokens, self.unet.config.cross_attention_dim))
        self.sample_steps, self.eta = schedule.sample_steps, schedule.eta
        self.patch = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.channels = int(self.vae.config.latent_channels)

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        """(t [B] int64, eps [B, K, h, w])."""
        return draws.at("timestep").integers(len(self.betas)), draws.at("noise").normal(*self._shape(corrupted))

    def constants(self, pair: Pair) -> Tensor:
        """[z, z'], [B, 2 K, h, w] float32."""
        return torch.cat([self._latents(pair.clean), self._latents(pair.corrupted.images)], dim=1)

    def encode(self, pair: Pair, view: View) -> Latents:
        """Every map the decoder reads: the first, each residual block's and down-sampling's, and the middle block's.

        As published, z_t is of the whole picture: z beside the hole has seen into it, and so has its noised self.
        """
        (timestep, noise), (clean, visible) = view, self._known(pair)
        return self._encode(self._stacked(self._noised(clean, noise, timestep), pair.corrupted, visible), timestep)

    def encode_drowned(self, pair: Pair, view: View) -> Latents:
        """As `encode`, with eps in the hole at every timestep, and beside it the noised z' that never saw the hole."""
        (timestep, noise), (_, visible) = view, self._known(pair)
        hole = self._hole(pair.corrupted.missing)
        drowned = torch.where(hole, noise, self._noised(visible, noise, timestep))
        return self._encode(self._stacked(drowned, pair.corrupted, visible), timestep)

    def decode(self, latents: Latents, timestep: Tensor) -> Tensor:
        """What the network predicts, from the encoder's maps: [B, K, h, w]."""
        embedded = self.up_time_embedding(self._told(timestep, latents[0].dtype))
        *skipped, maps = latents
        for block in self.unet.up_blocks:
            taken, skipped = skipped[-len(block.resnets) :], skipped[: -len(block.resnets)]
            maps = block(maps, tuple(taken), embedded, **self._attended(block, maps))
        predicted: Tensor = self.unet.conv_out(self.unet.conv_act(self.unet.conv_norm_out(maps)))
        return predicted

    def loss(self, pair: Pair, view: View) -> PerImage:
        """Squared error of eps, or of v, averaged over the latents of an image's hole: [B]."""
        timestep, noise = view
        clean, _ = self._known(pair)
        kept, added = self._shares(timestep)
        target = torch.where(self.predicts_velocity, kept * noise - added * clean, noise)
        error = (self.decode(self.encode(pair, view), timestep).float() - target).square()
        counted = self._hole(pair.corrupted.missing).expand_as(error).float()
        return (error * counted).sum(dim=(1, 2, 3)) / counted.sum(dim=(1, 2, 3))

    @torch.no_grad()
    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        """`sample_steps` denoising steps from noise everywhere, as published; the VAE's picture of it in the hole."""
        return self.reconstruct_led(self, 0.0, corrupted, draws)

    @torch.no_grad()
    def reconstruct_led(self, leader: Self, share: float, corrupted: Corrupted, draws: Draws) -> Images:
        """The same steps, and another that predicts in the first of them.

        A VAE of its own gives latents a meaning of their own. Where the two differ, what the leader has come to is
        handed over as a picture: z_t + a_t (k VAE(x) - z), x the picture of the leader's estimate z.
        """
        led = round(share * self.sample_steps)
        if led == self.sample_steps and leader is not self:
            return leader.reconstruct(corrupted, draws)
        shape, schedule = self._shape(corrupted), self.sampler()
        start = maps = estimate = draws.at("start").normal(*shape)
        timesteps, here = schedule.timesteps.tolist(), leader if led else self
        visible = here._latents(corrupted.images)
        for place, timestep in enumerate(timesteps):
            steps = torch.full((len(maps),), timestep, device=maps.device)
            if led and place == led:
                maps, here = maps + self._translation(leader, estimate, steps), self
                visible = self._latents(corrupted.images)
            maps = here._led(maps, start, corrupted, visible, steps)
            predicted = here.decode(here._encode(here._stacked(maps, corrupted, visible), steps), steps).float()
            noise = draws.at("step", place).normal(*shape) if self.eta else None
            stepped = schedule.step(predicted, timestep, maps, eta=self.eta, variance_noise=noise)
            maps, estimate = stepped.prev_sample, stepped.pred_original_sample
        return torch.where(corrupted.missing, self._picture(maps), corrupted.images)

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        """The way down, the middle, and their embedding of the time."""
        return {name: weight for name, weight in self.named_parameters() if name.startswith(self.encoder_names)}

    def first_stage(self) -> LearningAutoencoder:
        """The VAE, as one that learns."""
        return LearningAutoencoder(thawed(self.vae), self.patch)

    def settle(self, first_stage: Generator) -> None:
        """The VAE that learnt becomes this one's, and k the reciprocal of its latents' deviation."""
        assert isinstance(first_stage, LearningAutoencoder)
        self.vae.load_state_dict(first_stage.vae.state_dict())
        self.scaling.copy_(first_stage.scaling())

    def sampler(self) -> Any:
        """diffusers' DDIM over this schedule; the first step is the last of the schedule, nothing but noise."""
        schedule: Any = DDIMScheduler(
            num_train_timesteps=len(self.betas),
            trained_betas=self.betas.tolist(),
            prediction_type="v_prediction" if self.predicts_velocity else "epsilon",
            clip_sample=False,  # latents have no bounds
            timestep_spacing="trailing",
        )
        schedule.set_timesteps(self.sample_steps)
        return schedule

    def _led(self, maps: Tensor, start: Tensor, corrupted: Corrupted, visible: Tensor, timestep: Tensor) -> Tensor:
        """z_t before a step of sampling: as published, the network is told beside it what is visible."""
        return maps

    def _picture(self, latents: Tensor) -> Images:
        with torch.autocast(latents.device.type, enabled=False):
            drawn: Images = self.vae.decode(latents / self.scaling).sample.clamp(-1, 1)
        return drawn

    def _translation(self, other: LatentDiffusion, estimate: Tensor, timestep: Tensor) -> Tensor:
        """What to add to z_t of the other, so that it says in these latents what it said in its own: [B, K, h, w]."""
        mine, others = self.vae.state_dict(), other.vae.state_dict()
        if torch.equal(self.scaling, other.scaling) and all(torch.equal(mine[name], others[name]) for name in mine):
            return torch.zeros_like(estimate)
        return self._shares(timestep)[0] * (self._latents(other._picture(estimate)) - estimate)

    def _encode(self, stacked: Tensor, timestep: Tensor) -> Latents:
        embedded = self.unet.time_embedding(self._told(timestep, stacked.dtype))
        here = self.unet.conv_in(stacked)
        maps = [here]
        for block in self.unet.down_blocks:
            here, made = block(here, embedded, **self._attended(block, here))
            maps.extend(made)
        return (*maps, self.unet.mid_block(here, embedded, **self._attended(self.unet.mid_block, here)))

    def _attended(self, block: Any, maps: Tensor) -> dict[str, Tensor]:
        """c, for the blocks that read it."""
        attends = getattr(block, "has_cross_attention", False)
        return {"encoder_hidden_states": self.context.to(maps.dtype).expand(len(maps), -1, -1)} if attends else {}

    def _told(self, timestep: Tensor, dtype: torch.dtype) -> Tensor:
        told: Tensor = self.unet.time_proj(timestep).to(dtype)
        return told

    def _known(self, pair: Pair) -> tuple[Tensor, Tensor]:
        """z and z', each [B, K, h, w]."""
        clean, visible = (self.constants(pair) if pair.known.constant is None else pair.known.constant).chunk(2, dim=1)
        return clean, visible

    @torch.no_grad()
    def _latents(self, images: Images) -> Tensor:
        """k VAE(x), in float32 whatever the precision around it: what is cached must be what is not."""
        with torch.autocast(images.device.type, enabled=False):
            found: Tensor = self.vae.encode(images.float()).latent_dist.mode() * self.scaling
        return found

    def _stacked(self, noised: Tensor, corrupted: Corrupted, visible: Tensor) -> Tensor:
        """[z_t, m, z'], [B, 2 K + 1, h, w]."""
        return torch.cat([noised, self._hole(corrupted.missing).to(noised.dtype), visible], dim=1)

    def _noised(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        kept, added = self._shares(timestep)
        return kept * clean + added * noise

    def _shares(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """a_t and s_t, each [B, 1, 1, 1]."""
        kept = (1 - self.betas).cumprod(dim=0)[timestep][:, None, None, None]
        return kept.sqrt(), (1 - kept).sqrt()

    def _hole(self, missing: Missing) -> Tensor:
        """[B, 1, h, w] bool: latents with a missing pixel, even one. On the latents' grid it is the published one."""
        return functional.max_pool2d(missing.float(), self.patch).bool()

    def _shape(self, corrupted: Corrupted) -> tuple[int, int, int]:
        height, width = corrupted.images.shape[2:]
        return self.channels, height // self.patch, width // self.patch
