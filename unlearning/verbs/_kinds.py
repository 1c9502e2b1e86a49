"""Every room whose members params.yaml may choose by `kind`."""

from __future__ import annotations

from unlearning.contracts import Corruption, GeneratorRecipe, Merge, Method, Metric, Scope
from unlearning.params import Params
from unlearning.recipe import discover

ROOMS = ("generators", "corruptions", "methods", "merges", "scopes", "metrics", "attacks")


def register() -> None:
    """Import every recipe there is, so that a `Choice` can be looked up. Cheap when done before."""
    for room in ROOMS:
        discover(f"unlearning.{room}")


def check(params: Params) -> None:
    """Look up everything that params.yaml chooses, so that a typo in a late stage stops the first one.

    Raises ParamsError naming the key and what exists.
    """
    register()
    GeneratorRecipe.chosen(params.generator, "generator")
    Corruption.chosen(params.corruption, "corruption")
    Method.chosen(params.unlearn.method, "unlearn.method")
    Merge.chosen(params.unlearn.merge, "unlearn.merge")
    Scope.chosen(params.unlearn.scope, "unlearn.scope")
    if params.evaluate.corruption is not None:
        Corruption.chosen(params.evaluate.corruption, "evaluate.corruption")
    for choice in params.evaluate.metrics:
        Metric.chosen(choice, "evaluate.metrics")
