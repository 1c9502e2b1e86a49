"""Low-rank adapters: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, through peft.

    W = W0 + (alpha / rank) B A,   A [rank, in], B [out, rank],   B = 0 before the first step

Only A and B move. At the end the product is folded into W, so the checkpoint is an ordinary one, and how it differs
from the original has at most `rank` directions a layer. A convolution's W is [out, in x height x width]. Biases, norms
and every layer that is not chosen stay bit-identical.
"""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, model_validator
from torch import nn

from unlearning.contracts import Generator, Scope
from unlearning.errors import ParamsError

_FACTORS = ("lora_A", "lora_B")


class Adapters(Scope, kind="adapters"):
    """Two thin factors beside each chosen Linear and Conv2d layer."""

    rank: int = Field(8, ge=1, description="directions a layer may change in; published: 1 to 64; search 2 to 32")
    alpha: float = Field(8.0, gt=0, description="over rank, how loud the product is; leave it and search learning_rate")
    modules: str = Field(
        ".*",
        description="regular expression that the whole name of a layer matches: .* = all, .*attn.* = in attention",
    )

    @model_validator(mode="after")
    def _is_a_pattern(self) -> Self:
        try:
            re.compile(self.modules)
        except re.error as error:
            raise ValueError(f"modules is a regular expression over names of layers: {error}") from None
        return self

    def adapt(self, student: Generator) -> None:
        """Put the factors beside the chosen layers. Raises ParamsError if no layer is."""
        from peft import LoraConfig, inject_adapter_in_model  # takes seconds to import

        layers = _layers(student)
        chosen = [name for name in layers if re.fullmatch(self.modules, name)]
        if not chosen:
            raise ParamsError(
                f"unlearn.scope: no layer's whole name matches modules {self.modules!r}; this generator has "
                f"{len(layers)} that can be adapted, {', '.join(layers[:3])} among them"
            )
        # A pattern, not a list: peft takes each name of a list for the end of any longer one, too.
        exactly = "|".join(map(re.escape, chosen))
        plan = LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=f"({exactly})", lora_dropout=0.0)
        inject_adapter_in_model(plan, student)

    def parameters(self, student: Generator) -> dict[str, nn.Parameter]:
        """A and B of every layer that was adapted."""
        return {name: weight for name, weight in student.named_parameters() if set(_FACTORS) & set(name.split("."))}

    def fold(self, student: Generator) -> None:
        """Add the products to the layers' own weights, and take the factors out."""
        from peft.tuners.lora import LoraLayer

        for name, layer in list(student.named_modules()):
            if isinstance(layer, LoraLayer):
                layer.merge()
                student.set_submodule(name, layer.get_base_layer())
        vars(student).pop("peft_config", None)  # peft's own note of what it put in


def _layers(student: Generator) -> list[str]:
    """Names of the layers that can be adapted: what trains of Linear and ungrouped Conv2d, and nothing derived."""
    return [
        name
        for name, layer in student.named_modules()
        if (type(layer) is nn.Linear or (type(layer) is nn.Conv2d and layer.groups == 1))
        and isinstance(layer.weight, nn.Parameter)
        and layer.weight.requires_grad
    ]
