"""What holds weights near the original's where no retain image does: a quadratic pull, each weight by its precision.

sum_i p_i (theta_i - theta0_i)^2 / 2,   the mean of p over all weights = 1
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from unlearning.contracts import Generator, Preparation, Prepared
from unlearning.errors import ParamsError
from unlearning.types import Images, Pair

_ROOM = "precision/"


def pull(student: Generator, original: Generator, prepared: Prepared) -> Tensor:
    """The sum above over the weights that move, []; p = 1 where nothing is prepared.

    Raises ParamsError if weights move that the original has not (adapters), because nothing says where they are held.
    """
    there = dict(original.named_parameters())
    moving = {name: weight for name, weight in student.named_parameters() if weight.requires_grad}
    added = sorted(moving.keys() - there.keys())
    if added:
        raise ParamsError(
            f"unlearn.scope: {len(added)} weights move that the original has not ({added[0]}), and this method holds "
            f"weights at the original's; scope all, encoder or salient is right with it"
        )
    away = [
        (prepared.get(_ROOM + name, 1.0) * (weight.float() - there[name].float()).square()).sum() / 2
        for name, weight in moving.items()
    ]
    return torch.stack(away).sum()


def balanced(raw: dict[str, Tensor], damping: float, of: Callable[[Tensor], Tensor]) -> Prepared:
    """Precisions by weight, mean 1: `of` the numbers in `raw`, each with a share of their mean added.

    Where every number is the same, as where all are 0, every precision is 1.
    """
    count = sum(part.numel() for part in raw.values())
    mean = float(sum(part.double().sum() for part in raw.values())) / count
    if mean <= 0:
        return {_ROOM + name: torch.ones_like(part) for name, part in raw.items()}
    found = {name: of(part.double() / mean + damping) for name, part in raw.items()}
    whole = float(sum(part.sum() for part in found.values())) / count
    return {_ROOM + name: (part / whole).float() for name, part in found.items()}


def fisher(given: Preparation, pictures: Images, views: int) -> dict[str, Tensor]:
    """The squared gradient of a picture's own loss at the original, averaged over pictures and views, by weight.

    The diagonal of the empirical Fisher information, if the loss is a negative log-likelihood or a bound of it.
    """
    model = copy.deepcopy(given.original).eval().requires_grad_(True)
    weights = dict(model.named_parameters())
    found = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for number, picture in enumerate(pictures):
        clean = picture[None].to(given.device)
        for view in range(views):
            draws = replace(given.draws, rows=1, first=0, total=None).at("fisher", number, view)
            pair = Pair(clean, given.corruption(clean, draws.at("corruption")), torch.tensor([number]))
            loss = model.loss(pair, model.draw_view(pair.corrupted, draws.at("view"))).sum()
            slopes = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            for (name, whole), slope in zip(found.items(), slopes, strict=True):
                if slope is not None:
                    found[name] = whole + slope.float().square() / (len(pictures) * views)
    return {name: part.cpu() for name, part in found.items()}
