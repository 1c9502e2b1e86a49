"""A launcher that runs the real verbs here, so that no process has to import torch again."""

from __future__ import annotations

import dagster as dg
import torch

from pipelines.resources.compute import Compute, Job, StudyJob
from unlearning.log import silent
from unlearning.params import Params
from unlearning.verbs import stage
from unlearning.workspace import Workspace


class SameProcess(Compute):
    """The verbs themselves, on one thread: the networks are too small to share."""

    def launch(self, context: dg.AssetExecutionContext, job: Job | StudyJob) -> None:
        assert isinstance(job, Job)
        torch.set_num_threads(1)
        stage.run(job.stage, Params.read(job.params, job.overrides), Workspace(job.root).batch(job.batch), silent)
