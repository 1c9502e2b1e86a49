"""One asset as OpenLineage has it: a job, a run, and data sets in and out, each by name and sha256. Nothing else.

What may stand in a facet is what is written here: hashes, a code revision, batch keys, run ids. No sample key, no
request, no path and no sentence of an error leaves this file, for a lineage server forgets nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import attr
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import DatasetFacet, RunFacet, dataset_version_dataset, parent_run

NAMESPACE = "unlearning"
PRODUCER = "urn:unlearning"
DATASET = "image_dataset"  # the one input that no batch made


@attr.define
class MadeFacet(RunFacet):
    """Which batch and run, by which code and parameters."""

    batch: str
    orchestrator_run_id: str
    key: str | None = None  # sha256 of everything the asset is a function of
    params_sha256: str | None = None
    code_revision: str | None = None
    source_sha256: str | None = None
    reused: bool | None = None
    bundle_index_sha256: str | None = None  # the signed bundle that the batch had by then
    failure: str | None = None  # the kind of error, never its words

    @staticmethod
    def _get_schema() -> str:
        return "urn:unlearning:facet:made:1"


@dataclass(frozen=True, slots=True)
class Making:
    """One attempt to make one asset of one batch."""

    model: str
    dataset: str
    asset: str
    batch: str
    run_id: str  # Dagster's

    @property
    def id(self) -> str:
        """Of the OpenLineage run: the same for START and for how it ended."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.run_id}/{self.model}/{self.batch}/{self.asset}"))

    def named(self, asset: str) -> str:
        """The data set that an asset of this batch is: `<model>/<batch>/<asset>`; of a promotion `<model>/champion`."""
        whole = {DATASET: f"data/{self.dataset}", "model_promotion": f"{self.model}/champion"}
        return whole.get(asset, f"{self.model}/{self.batch}/{asset}")


def event(
    making: Making,
    state: RunState,
    inputs: Mapping[str, str | None],
    outputs: Mapping[str, str | None],
    facet: MadeFacet,
) -> RunEvent:
    """What happened, with the sha256 of every input and output that is known by now."""
    facets: dict[str, RunFacet] = {"unlearning": facet, **_parent(making)}
    return RunEvent(
        eventTime=datetime.now(UTC).isoformat(timespec="milliseconds"),
        producer=PRODUCER,
        eventType=state,
        run=Run(runId=making.id, facets=facets),
        job=Job(namespace=NAMESPACE, name=f"{making.model}.{making.asset}"),
        inputs=[InputDataset(NAMESPACE, making.named(name), facets=_version(sha)) for name, sha in inputs.items()],
        outputs=[OutputDataset(NAMESPACE, making.named(name), facets=_version(sha)) for name, sha in outputs.items()],
    )


def _version(sha256: str | None) -> dict[str, DatasetFacet]:
    if sha256 is None:
        return {}
    return {"version": dataset_version_dataset.DatasetVersionDatasetFacet(f"sha256:{sha256}", producer=PRODUCER)}


def _parent(making: Making) -> dict[str, RunFacet]:
    """Dagster's run, where its id is a UUID, as the standard asks."""
    try:
        run_id = str(uuid.UUID(making.run_id))
    except ValueError:
        return {}
    job = parent_run.Job(NAMESPACE, making.model)
    return {"parent": parent_run.ParentRunFacet(parent_run.Run(run_id), job, producer=PRODUCER)}
