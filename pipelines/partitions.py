"""One partition a point of a study: `cifar10:mae-cat-border-noise_target-0.25-s0`; and the default line's.

The partitions of any other line are made by pipelines/line.py.
"""

from __future__ import annotations

import dagster as dg

from pipelines.line import Line
from unlearning.studies import Plans

deletion_batch = Line().partitions
study_points = dg.DynamicPartitionsDefinition(name="study_points")


def open_batch(instance: dg.DagsterInstance, key: str) -> bool:
    """Make the default line's partition `key`; False if it is there already."""
    return Line().open_batch(instance, key)


def open_points(instance: dg.DagsterInstance, plans: Plans) -> list[str]:
    """Make the partition of every point of a study; those that were not there before, in the study's order."""
    known = set(instance.get_dynamic_partitions(str(study_points.name)))
    fresh = [key for point in plans.points if (key := point_key(plans, point.id)) not in known]
    instance.add_dynamic_partitions(str(study_points.name), fresh)
    return fresh


def point_key(plans: Plans, point: str) -> str:
    """The partition of a point: its id, behind the study's name."""
    return f"{plans.study.name}:{point}"
