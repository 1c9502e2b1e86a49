"""Dockerfiles and compose.yaml without an engine: what is copied exists, what is named is defined, nobody is root."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.validation import HOUSE, INFRA, Row, not_a_name

FOLDER = INFRA / "docker"
COMPOSE = FOLDER / "compose.yaml"
_OWN = {"unlearning-dagster", "unlearning-trainer", "unlearning-worker", "unlearning-mlflow"}


def rows() -> Iterator[Row]:
    """Each file, and what an engine alone could say."""
    for file in sorted(FOLDER.glob("Dockerfile.*")):
        copied = set(sources(file.read_text(encoding="utf-8")))
        unlocked = sorted(one for one in copied if _unlocked(one))
        wrong = tuple(dockerfile_faults(file.read_text(encoding="utf-8"), copied - set(unlocked)))
        yield Row(f"docker/{file.name}", "user, versions, hashes, what it copies", wrong)
        for one in unlocked:
            yield Row(one, "hash-pinned lock", why_not="never resolved; run `make lock` where a package index answers")
    given = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    yield Row("docker/compose.yaml", "images, variables, ports, volumes, dependencies", tuple(compose_faults(given)))
    yield from _engine()


def _engine() -> Iterator[Row]:
    docker = shutil.which("docker")
    asked = docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0
    if docker and asked:
        words = [docker, "compose", "-f", str(COMPOSE), "--env-file", str(FOLDER / "example.env"), "config", "--quiet"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        said = done.stderr.strip() if "required variable" not in done.stderr else ""
        yield Row("docker/compose.yaml", "docker compose config", (said,) if done.returncode and said else ())
    else:
        yield Row("docker/compose.yaml", "docker compose config", why_not="no compose plugin")
    yield Row("images", "docker build, and a container of each", why_not="no engine")


def sources(text: str) -> Iterator[str]:
    """What a Dockerfile copies from the repository."""
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        *found, _ = line.split()
        yield from (one.removeprefix("./") for one in found)


def dockerfile_faults(text: str, copied: set[str]) -> Iterator[str]:
    """What is wrong with a Dockerfile of ours."""
    users = re.findall(r"^USER (\S+)", text.rpartition("\nFROM ")[2], re.MULTILINE)
    if users[-1:] != ["10001:10001"]:
        yield "its last stage ends as another user than 10001:10001"
    for install in re.findall(r"pip install[^\\&]*", text):
        if "--require-hashes" not in install:
            yield f"{install.strip()!r} takes what it gets; add --require-hashes and a lock"
    for image in re.findall(r"^ARG \w+=(\S+:\S+)$", text, re.MULTILINE):
        fault = not_a_name(image)
        if fault is not None:
            yield fault
    if re.search(r"(?i)^(ARG|ENV)\s.*(password|secret|token)", text, re.MULTILINE):
        yield "a secret would stay in a layer"
    visible = [line[1:] for line in (HOUSE / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for one in sorted(copied):
        if not (HOUSE / one).exists():
            yield f"it copies {one!r}, which is not there"
        elif one.split("/")[0] not in visible:
            yield f"it copies {one!r}, which .dockerignore hides"


def compose_faults(given: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with compose.yaml, anchors resolved."""
    services = given["services"]
    built = {one["image"] for one in services.values() if "build" in one}
    for name, one in services.items():
        yield from (f"{name}: {fault}" for fault in _service_faults(one, built, set(given["volumes"])))
        for needed in one.get("depends_on", {}):
            yield from _dependency(name, needed, one["depends_on"][needed]["condition"], services)
    wanted = set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE.read_text(encoding="utf-8")))
    there = set(re.findall(r"^(\w+)=", (FOLDER / "example.env").read_text(encoding="utf-8"), re.MULTILINE))
    if wanted != there:
        yield f"example.env and compose.yaml differ in {sorted(wanted ^ there)}"


def _service_faults(one: Mapping[str, Any], built: set[str], volumes: set[str]) -> Iterator[str]:
    fault = not_a_name(one["image"])
    if fault is not None:
        yield fault
    if one["image"].partition(":")[0] in _OWN and one["image"] not in built:
        yield f"nobody builds {one['image']}"
    if "build" in one and not (FOLDER / one["build"]["context"] / one["build"]["dockerfile"]).is_file():
        yield "its Dockerfile is not there"
    for source in (volume.partition(":")[0] for volume in one.get("volumes", [])):
        if source not in volumes and not (source.startswith(".") and (FOLDER / source).exists()):
            yield f"there is no volume or file {source!r}"
    for port in one.get("ports", []):
        if not str(port).startswith("127.0.0.1:"):
            yield f"port {port} is open to everybody; write 127.0.0.1: before it"
    if one.get("restart") and "healthcheck" not in one:
        yield "nobody would see that it is not well; give it a healthcheck"


def _dependency(name: str, needed: str, condition: str, services: Mapping[str, Any]) -> Iterator[str]:
    if needed not in services:
        yield f"{name}: it waits for {needed!r}, which is no service"
    elif condition == "service_healthy" and "healthcheck" not in services[needed]:
        yield f"{name}: it waits until {needed!r} is healthy, which nothing tells"


def _unlocked(source: str) -> bool:
    path = Path(source)
    return not (HOUSE / path).exists() and (HOUSE / path.with_suffix(".in")).exists()
