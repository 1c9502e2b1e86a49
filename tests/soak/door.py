"""The HTTP intake, by the soak's clock."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipelines import intake_api
from tests.soak.clock import Clock

if __name__ == "__main__":
    Clock(Path(os.environ["UNLEARNING_ROOT"])).keep()
    sys.exit(intake_api.main(sys.argv[1:]))
