"""`unlearning sweep`: one number of the parameters, several values, on a batch that is there: an implicit study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from unlearning import digests, files
from unlearning.errors import ParamsError
from unlearning.params import Params
from unlearning.recipe import explain
from unlearning.studies import Plans, Study, Value
from unlearning.workspace import BatchFolder


def plan(params: Params, batch: BatchFolder, over: str, values: Sequence[Value], seeds: Sequence[int]) -> Plans:
    """Write the study that varies `over` on the assets of `batch`, with `params` beside it, and read it back.

    The same sweep has the same name, and goes on. Raises ParamsError for a key or value that cannot be.
    """
    if not values:
        raise ParamsError("sweep: --values holds no value; 0.05,0.1,0.2, say, is right")
    tree = params.model_dump(mode="json")
    study: dict[str, Any] = {
        "name": f"sweep-{digests.of_value([batch.key, over, tree])[:12]}",
        "dataset": params.data.name,
        "batch": batch.key,
        "families": {params.generator.kind: {"params": "params.yaml"}},
        "corruptions": {params.corruption.kind: {"corruption": tree["corruption"]}},
        "methods": {params.unlearn.method.kind: {"vary": {over: list(values)}}},
        "seeds": list(seeds) or [params.unlearn.budget.seed],
        "ceiling": {"steps": 0},
    }
    folder = batch.workspace.root / "studies" / study["name"]
    try:
        Study.model_validate(study)
    except ValidationError as error:
        raise ParamsError(explain(error, Study, "sweep")) from None
    for name, content in (("params.yaml", tree), ("study.yaml", study)):
        files.write_bytes(folder / name, yaml.safe_dump(content, sort_keys=False).encode())
    return Plans.read(folder / "study.yaml")
