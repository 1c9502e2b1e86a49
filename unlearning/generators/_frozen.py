"""Networks that unlearning never moves (a tokenizer, an auto-encoder): their weights are buffers, not parameters.

So no optimizer, scope or `requires_grad_` finds them, and a resumable state does not save them again and again.
"""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def freeze(network: nn.Module) -> None:
    """Every parameter below `network` becomes a buffer of the same name."""
    for part in network.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, weight.detach())


def thawed(network: Network) -> Network:
    """A copy that trains: every buffer that is saved becomes a parameter of the same name."""
    copied = copy.deepcopy(network)
    for part in copied.modules():
        for name, buffer in list(part.named_buffers(recurse=False)):
            if name not in part._non_persistent_buffers_set:
                delattr(part, name)
                part.register_parameter(name, nn.Parameter(buffer.detach().clone()))
    return copied
