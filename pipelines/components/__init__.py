"""What a platform team names in a defs.yaml."""

from pipelines.components.recurring_unlearning import RecurringUnlearning

__all__ = ["RecurringUnlearning"]
