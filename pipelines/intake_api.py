"""`make intake`: the HTTP door of the ledger. Without a token file it answers this machine only."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from unlearning.errors import UnlearningError
from unlearning.requests import tokens
from unlearning.settings import Settings
from unlearning.workspace import Workspace

HERE = frozenset({"127.0.0.1", "::1", "localhost"})


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until somebody stops it. 2: something is not as it must be, in one sentence."""
    options = _parser(Settings()).parse_args(argv)
    workspace = Workspace(options.root.resolve())
    try:
        closed = bool(tokens.read(workspace))
        if not closed and options.host not in HERE:
            raise UnlearningError(
                f"{tokens.file(workspace)}: there is no token yet, and {options.host!r} can be reached by others; make "
                f"one with `unlearning intake-token --controller NAME`, or serve on 127.0.0.1"
            )
        import uvicorn

        from pipelines.intake.app import create_app

        app = create_app(workspace, open_door=not closed)
    except UnlearningError as error:
        sys.stderr.write(f"unlearning: {error}\n")
        return 2
    sys.stdout.write(
        f"intake  http://{options.host}:{options.port}  ({'tokens' if closed else 'open, this machine only'})\n"
    )
    sys.stdout.flush()
    # No access log: an address holds a request's id, and logs are kept where nothing can be erased.
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning", access_log=False, server_header=False)
    return 0


def _parser(settings: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.intake_api", description=__doc__)
    parser.add_argument("--root", type=Path, default=settings.root, help="all that a run makes lies here (%(default)s)")
    parser.add_argument("--host", default=settings.intake_host, help="(%(default)s)")
    parser.add_argument("--port", type=int, default=settings.intake_port, help="(%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
