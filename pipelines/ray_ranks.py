"""The far end of a RayJob: `python -m pipelines.ray_ranks --nodes N --gpus G -- MODULE WORDS…`, on Ray's head.

One torchrun agent a machine, G ranks each; the machine of the first is the rendezvous. Rank 0 reports to Dagster by the
environment that the RayJob gives to every process. Needs Ray, which only the trainer's image has.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from unlearning.process import die_with_parent


def main(argv: Sequence[str] | None = None) -> int:
    """Start every agent. 0 when all ended well, else the code of the first that did not."""
    options = _parser().parse_args(argv)
    words = [word for word in options.words if word != "--"]
    import ray
    import ray.util
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    ray.init(address="auto")
    need = {"CPU": 1, **({"GPU": options.gpus} if options.gpus else {})}
    group = placement_group([need] * options.nodes, strategy="STRICT_SPREAD")
    ray.get(group.ready())

    def place(node: int) -> dict[str, Any]:
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=node)
        return {"num_cpus": 1, "num_gpus": options.gpus, "scheduling_strategy": strategy, "max_retries": 0}

    rendezvous = (
        ray.get(ray.remote(**place(0))(ray.util.get_node_ip_address).remote()),
        ray.get(ray.remote(**place(0))(free_port).remote()),
    )
    waiting = [
        ray.remote(**place(node))(run).remote(agent(node, options.nodes, options.gpus, rendezvous, words))
        for node in range(options.nodes)
    ]
    while waiting:
        [ended], waiting = ray.wait(waiting, num_returns=1)
        code: int = ray.get(ended)
        if code != 0:
            return abs(code)  # the others wait for a rank that is gone; they end with this process
    return 0


def free_port() -> int:
    """A port that nobody listens on, on the machine that this is called on."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def agent(node: int, nodes: int, gpus: int, rendezvous: tuple[str, int], words: Sequence[str]) -> list[str]:
    """The command of the `node`-th machine's torchrun agent. `rendezvous`: address and port of the first machine's."""
    many = ["--nnodes", str(nodes), "--node-rank", str(node), "--nproc-per-node", str(max(1, gpus))]
    meet = ["--master-addr", rendezvous[0], "--master-port", str(rendezvous[1])]
    return [sys.executable, "-m", "torch.distributed.run", *many, *meet, "-m", *words]


def run(command: Sequence[str]) -> int:
    """Run an agent to its end, on the machine that this is called on; it dies with whoever called."""
    return subprocess.run(command, check=False, preexec_fn=die_with_parent).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.ray_ranks", description=__doc__)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--gpus", type=int, required=True, help="ranks a machine; 0: one rank, on the processor")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="-- module and its words")
    return parser


if __name__ == "__main__":
    sys.exit(main())
