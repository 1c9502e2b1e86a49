"""Values for Dagster's chart: what the chart would write into dagster.yaml, checked by Dagster itself.

The chart is not part of this repository. Its templates of 1.13 were read; they rename camelCase to snake_case and add
the names of what the chart makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster_k8s.launcher import K8sRunLauncher

from infra.validation import INFRA, Row, not_a_name

FILE = INFRA / "helm" / "dagster-values.yaml"
_RENAMED = {"image": "job_image"}
# Keys at the top of the chart's values.yaml, as far as they are used here or could be mistyped for.
_KNOWN = {
    *("global", "serviceAccount", "rbacEnabled", "imagePullSecrets", "ingress", "extraManifests", "telemetry"),
    *("postgresql", "generatePostgresqlPasswordSecret", "rabbitmq", "redis", "flower", "generateCeleryConfigSecret"),
    *("dagsterWebserver", "dagsterDaemon", "dagster-user-deployments", "runLauncher", "scheduler", "concurrency"),
    *("retention", "computeLogManager", "pythonLogs", "additionalInstanceConfig"),
}


def values() -> dict[str, Any]:
    """The values file."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def rows() -> Iterator[Row]:
    """The parts that Dagster can judge, and the ones that only the chart can."""
    given = values()
    result = process_config(resolve_to_config_type(_schema()), launcher_config(given))
    wrong = tuple(error.message for error in result.errors or ())
    yield Row("helm: run launcher", "K8sRunLauncher's own config schema", wrong)
    yield Row("helm: values", "keys, images, secrets, driver, the auditors' web server", tuple(faults(given)))
    yield Row("helm: templates", "helm template", why_not="no helm, and the chart is not part of this repository")


def _schema() -> Any:
    return K8sRunLauncher.config_type()  # type: ignore[no-untyped-call]


def launcher_config(given: Mapping[str, Any]) -> dict[str, Any]:
    """`run_launcher.config` of the dagster.yaml that the chart writes."""
    own = given["runLauncher"]["config"]["k8sRunLauncher"]
    config = {_RENAMED.get(name) or _snake(name): value for name, value in own.items()}
    config["run_k8s_config"] = {_snake(name): value for name, value in own["runK8sConfig"].items()}
    config["job_image"] = image(own["image"])
    config["env_secrets"] = [one["name"] for one in own["envSecrets"]]
    return {
        **config,
        "service_account_name": given["global"]["serviceAccountName"],
        "dagster_home": "/opt/dagster/dagster_home",
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": given["global"]["postgresqlSecretName"],
    }


def faults(given: Mapping[str, Any]) -> Iterator[str]:
    """What facts about the chart say of these values."""
    for name in sorted(given.keys() - _KNOWN):
        yield f"{name!r} is no key of the chart"
    deployments = given["dagster-user-deployments"]["deployments"]
    images = [
        given["dagsterWebserver"]["image"],
        given["dagsterDaemon"]["image"],
        *(one["image"] for one in deployments),
    ]
    for one in images:
        fault = not_a_name(image(one))
        if fault is not None:
            yield fault
        if image(one) != image(images[0]):
            yield "web server, daemon and code location are of different images: their Dagster must be one version"
    if given["postgresql"]["enabled"] or "postgresqlPassword" in given["postgresql"]:
        yield "the database and its password are the site's; leave postgresql.enabled false and name a secret"
    if given["postgresql"].get("postgresqlScheme") != "postgresql+psycopg2":
        yield "postgresqlScheme must name the driver that dagster-postgres ships: postgresql+psycopg2"
    if given["dagsterWebserver"].get("enableReadOnly") is not True:
        yield "auditors need dagsterWebserver.enableReadOnly"
    if given["dagsterDaemon"]["runCoordinator"].get("config"):
        yield "limits stand under `concurrency`; the chart refuses them in both places"


def image(parts: Mapping[str, str]) -> str:
    """As one reference."""
    return f"{parts['repository']}:{parts['tag']}"


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
