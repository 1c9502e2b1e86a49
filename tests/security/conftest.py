"""What looks at Dagster, MLflow or the HTTP intake is left out where only the core is installed."""

from __future__ import annotations

from importlib.util import find_spec

_OF_PIPELINES = ["test_canary.py", "test_naughty.py", "test_pages.py", "test_requests_as_attacks.py"]

collect_ignore = [] if find_spec("dagster") else _OF_PIPELINES
