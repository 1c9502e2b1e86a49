"""List everything that params.yaml may choose by `kind`, with its parameters and where it comes from."""

from __future__ import annotations

import json
from typing import Any

from pydantic.fields import FieldInfo

from unlearning.attack import Attack
from unlearning.contracts import Corruption, GeneratorRecipe, Merge, Method, Metric, Scope
from unlearning.recipe import Recipe
from unlearning.verbs._kinds import register

_FAMILIES: tuple[type[Recipe], ...] = (GeneratorRecipe, Corruption, Method, Merge, Scope, Metric, Attack)
_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "multiple of", "min_length": "length >="}


def listing() -> list[dict[str, Any]]:
    """One entry a kind: {family, kind, summary, paper, parameters: [{name, type, default, bounds, description}]}.

    Families in the order of the house, kinds by name. Every value is JSON.
    """
    register()
    return [_entry(family, family.kinds[kind]) for family in _FAMILIES for kind in sorted(family.kinds)]


def _entry(family: type[Recipe], member: type[Recipe]) -> dict[str, Any]:
    return {
        "family": family.family,
        "kind": member.kind,
        "summary": " ".join((member.__doc__ or "").split("\n\n")[0].split()),
        "paper": member.paper(),
        "parameters": [_parameter(name, member.model_fields[name]) for name in member.model_fields],
    }


def _parameter(name: str, field: FieldInfo) -> dict[str, Any]:
    required = field.is_required()
    return {
        "name": name,
        "type": _type(field.annotation),
        "required": required,
        "default": None if required else json.loads(json.dumps(field.get_default(call_default_factory=True))),
        "bounds": ", ".join(_bounds(field)),
        "description": field.description or "",
    }


def _type(annotation: Any) -> str:
    """`int`, `float | None`, `'a' | 'b'`: as one would write it."""
    if isinstance(annotation, type) and not hasattr(annotation, "__origin__"):
        return annotation.__name__
    text = str(annotation).replace("typing.", "").replace("unlearning.recipe.", "")
    if text.startswith("Literal["):
        return text.removeprefix("Literal[").removesuffix("]").replace(", ", " | ")
    return text


def _bounds(field: FieldInfo) -> list[str]:
    found = []
    for constraint in field.metadata:
        found += [
            f"{sign} {value}"
            for name, sign in _BOUNDS.items()
            if (value := getattr(constraint, name, None)) is not None
        ]
    return found
