"""`python -m pipelines.study FILE`: open a study in Dagster; its points become partitions, made from the pages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from pipelines import home, studying
from unlearning.errors import UnlearningError
from unlearning.log import Bars
from unlearning.settings import Settings
from unlearning.studies import Plans
from unlearning.verbs import ingest
from unlearning.workspace import Workspace


def main(argv: Sequence[str] | None = None) -> int:
    """Ingest the data where it is not there, and make the partitions. 0 done, 2 refused with a sentence."""
    options = _parser().parse_args(argv)
    try:
        plans, workspace = Plans.read(options.file), Workspace(Settings().root.resolve())
        source = options.source or plans.study.source
        if source is not None:
            ingest.run(source, plans.study.dataset, workspace, Bars(), plant=plans.plant)
        with dg.DagsterInstance.from_config(str(home.prepare(workspace.root))) as instance:
            fresh = studying.launch(instance, plans, workspace)
    except UnlearningError as error:
        sys.stderr.write(f"unlearning: {error}\n")
        return 2
    sys.stdout.write(f"{len(fresh)} new of {len(plans.points)} points; make dev, then Assets, sweep_point\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.study", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--source", help="of the data set, as `unlearning ingest` takes it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
