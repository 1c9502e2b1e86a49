"""How far a denoiser strays from itself on one picture: PIA and SecMI, less = the picture was trained on.

x a picture or its latents, [B, c, h, w]; gamma_t = sqrt(abar_t), sigma_t = sqrt(1 - abar_t).

    PIA    |eps(x, 0) - eps(gamma_t x + sigma_t eps(x, 0), t)|_4         (Kong et al., ICLR 2024; p = 4 as published)
    PIAN   the same with eps(x, 0) scaled to the mean magnitude of N(0, 1), sqrt(2 / pi)
    SecMI  |back(on(x~_t)) - x~_t|^2,   x~_t by DDIM from x in steps of k   (Duan et al., ICML 2023, SecMI_stat)

on: from t to t + k, back: from t + k to t, both deterministic DDIM:

    move(m, t -> s) = gamma_s (m - sigma_t eps(m, t)) / gamma_t + sigma_s eps(m, t)

Neither draws anything. k is a hundredth of the schedule, as published (10 of 1,000).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unlearning.abilities import Denoising

_STEPS = 100  # of SecMI's walk over the whole schedule
_NORM = 4  # p of PIA
_GAUSSIAN = math.sqrt(2 / math.pi)  # E|eps|, eps ~ N(0, 1)


def places(length: int, shares: Sequence[float]) -> list[int]:
    """Timesteps at shares of a schedule of `length` steps that SecMI's walk comes by: rising, each once."""
    step = stride(length)
    last = max((length - 1 - step) // step, 0)
    return sorted({min(max(round(share * length / step), 1), last) * step for share in shares})


def stride(length: int) -> int:
    """k, of a schedule of `length` steps."""
    return max(length // _STEPS, 1)


@torch.no_grad()
def pia(model: Denoising, timesteps: Sequence[int], normalised: bool, clean: Tensor) -> Tensor:
    """[B, timesteps]; `normalised` is PIAN."""
    start = model.predict(clean, _at(clean, 0)).float()
    if normalised:
        start = start * _GAUSSIAN / start.abs().flatten(1).mean(1).clamp_min(1e-12).view(-1, 1, 1, 1)
    found = []
    for timestep in timesteps:
        gamma, sigma = _levels(model, timestep)
        off = start - model.predict(gamma * clean + sigma * start, _at(clean, timestep)).float()
        found.append(off.flatten(1).norm(p=_NORM, dim=1))
    return torch.stack(found, dim=1)


@torch.no_grad()
def secmi(model: Denoising, timesteps: Sequence[int], clean: Tensor) -> Tensor:
    """[B, timesteps], each a multiple of k; one walk serves all of them."""
    step, here, found = stride(len(model.abar)), clean, []
    for timestep in range(0, max(timesteps) + 1, step):
        on = _moved(model, here, timestep, timestep + step)
        if timestep in timesteps:
            back = _moved(model, on, timestep + step, timestep)
            found.append((back - here).square().flatten(1).sum(1))
        here = on
    return torch.stack(found, dim=1)


def _moved(model: Denoising, noised: Tensor, start: int, end: int) -> Tensor:
    """What stands at timestep `start` as it stands at `end`, if what is predicted at `start` is the noise in it."""
    noise = model.predict(noised, _at(noised, start)).float()
    (gamma, sigma), (gamma_end, sigma_end) = _levels(model, start), _levels(model, end)
    return gamma_end * (noised - sigma * noise) / gamma + sigma_end * noise


def _levels(model: Denoising, timestep: int) -> tuple[float, float]:
    kept = float(model.abar[timestep])
    return math.sqrt(kept), math.sqrt(1 - kept)


def _at(noised: Tensor, timestep: int) -> Tensor:
    return torch.full((len(noised),), timestep, dtype=torch.int64, device=noised.device)
