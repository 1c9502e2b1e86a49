"""The published step (released MAGE code of Li et al. 2024, re-stated; for the MAE none was released).

The student encodes the whole batch. The frozen teacher, outside autocast, encodes the whole batch twice: the pictures
and the noise. MAGE tokenises in each of the three passes. Labels choose afterwards which half of the work counts.
Nothing is kept from step to step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch

from unlearning.contracts import Corruption, Generator
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Drawn, Pair


def step_of(
    original: Generator, batches: Callable[[int], Drawn], corruption: Corruption, device: torch.device
) -> Callable[[int], object]:
    """`step(number)` moves the student once."""
    student = copy.deepcopy(original).to(device).train()
    teacher = original.to(device).eval().requires_grad_(False)
    moving = list(student.encoder_parameters().values())
    optimizer = torch.optim.AdamW(moving, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")

    def step(number: int) -> None:
        drawn = batches(number)
        clean = torch.cat([drawn.forget.images, drawn.retain.images]).to(device)
        images = len(drawn.retain.images)
        label = torch.cat([-torch.ones(len(clean) - images), torch.ones(images)]).to(device)
        draws = Draws(0, len(clean), where=(number,), device=device)
        missing = corruption.missing(clean, draws)
        noise = (draws.at("noise").normal(*clean.shape[1:]) * clean.std() + clean.mean()).clamp(-1, 1)
        pairs = [Pair(x, Corrupted(x.masked_fill(missing, 0.0), missing), torch.arange(len(x))) for x in (clean, noise)]
        view = student.draw_view(pairs[0].corrupted, draws)
        with autocast:
            latent = student.encode(pairs[0], view)[0]
        with torch.no_grad():
            guide, mis_guide = (teacher.encode(pair, view)[0] for pair in pairs)
        retain = (latent - guide).square().mean(dim=(1, 2)) * (1 + label)
        forget = (latent - mis_guide).square().mean(dim=(1, 2)) * (1 - label)
        optimizer.zero_grad(set_to_none=True)
        (retain.mean() + 0.25 * forget.mean()).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(moving, 3.0)
        optimizer.step()

    return step
