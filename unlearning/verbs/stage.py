"""One door for dvc, Dagster and the command line: run the verb that makes a stage's asset."""

from __future__ import annotations

import importlib

from unlearning import stages
from unlearning.evidence.lineage import Record
from unlearning.log import Log
from unlearning.params import Params
from unlearning.workspace import BatchFolder


def run(name: str, params: Params, batch: BatchFolder, log: Log) -> Record:
    """Make the asset `name` of `batch`, or reuse it. The verb's module is imported only now: most need torch."""
    verb, *words = stages.named(name).verb
    module = importlib.import_module(f"unlearning.verbs.{verb}")
    record: Record = module.run(params, batch, log, *words)
    return record
