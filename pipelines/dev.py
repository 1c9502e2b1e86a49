"""`make dev`: Dagster's pages and MLflow's beside them, over what `make demo` made. One Ctrl-C stops both."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines import home
from pipelines.tracking import Place
from unlearning.settings import Settings

HOST = "127.0.0.1"
_GRACE_S = 20.0


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until one of the two ends, or somebody stops it."""
    options = _parser().parse_args(argv)
    settings = Settings()
    place = Place.under(settings.root, settings.mlflow_uri, settings.mlflow_timeout_s)
    dagster_home = home.prepare(settings.root)
    commands = {f"Dagster  http://{HOST}:{options.port}": _dagster(options.port)}
    if place.local:
        place.home.mkdir(parents=True, exist_ok=True)
        commands[f"MLflow   http://{HOST}:{options.mlflow_port}"] = _mlflow(place, options.mlflow_port)
    env = {**os.environ, "DAGSTER_HOME": str(dagster_home), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    signal.signal(signal.SIGTERM, _interrupt)
    running = [subprocess.Popen(command, env=env, start_new_session=True) for command in commands.values()]
    sys.stdout.write(
        "\n".join(["", *commands, *([] if place.local else [f"MLflow   {place.uri}"]), "stop: Ctrl-C", ""])
    )
    sys.stdout.flush()
    try:
        while all(process.poll() is None for process in running):
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    finally:
        code = _stop(running)
    return code


def _dagster(port: int) -> list[str]:
    words = ["dev", "--host", HOST, "--port", str(port), "--module-name", "pipelines.definitions"]
    return [str(Path(sys.executable).with_name("dagster")), *words]


def _mlflow(place: Place, port: int) -> list[str]:
    store = ["--backend-store-uri", place.uri, "--default-artifact-root", (place.home / "artifacts").as_uri()]
    return [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1", *store]


def _stop(running: Sequence[subprocess.Popen[bytes]]) -> int:
    """Ask every group to end, then make it; the worst exit code of those that ended by themselves."""
    codes = [process.returncode for process in running if process.poll() is not None]
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return max(codes, default=0)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.dev", description=__doc__)
    parser.add_argument("--port", type=int, default=3000, help="of Dagster's pages (%(default)s)")
    parser.add_argument("--mlflow-port", type=int, default=5000, help="of MLflow's pages (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
