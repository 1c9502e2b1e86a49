"""One run, in a process that can be killed: `python -m tests.soak.work JOB JSON`, as a run launcher starts it.

JSON holds `partition`, `tags` and `config`. 0: the run succeeded; 1: it failed, and Dagster's instance says why.
"""

from __future__ import annotations

import json
import sys

import dagster as dg

from tests.soak.definitions import defs
from unlearning.process import die_with_parent

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def main() -> int:
    """Run it."""
    die_with_parent()
    job, told = sys.argv[1], json.loads(sys.argv[2])
    with dg.DagsterInstance.get() as instance:
        result = (
            defs()
            .resolve_job_def(job)
            .execute_in_process(
                run_config={**QUIET, **told.get("config", {})},
                instance=instance,
                partition_key=told.get("partition"),
                tags=told.get("tags", {}),
                raise_on_error=False,
            )
        )
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main())
