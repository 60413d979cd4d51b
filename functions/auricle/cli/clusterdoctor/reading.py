"""Read a cluster by the user's kubeconfig, with lightkube. Nothing is ever written, and no secret's value is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import yaml
from alembic.script import ScriptDirectory
from lightkube import ApiError, Client, KubeConfig
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import SingleConfig
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import (
    GenericGlobalResource,
    GenericNamespacedResource,
    create_global_resource,
    create_namespaced_resource,
)

import auricle.schema
from auricle.cli.client import ServerError
from auricle.cli.clusterdoctor.seen import OURS, READS, Lack, Read, Seen, Sight
from auricle.deploy.generated import ROOT
from auricle.deploy.lint import facts_for, knative_settings
from auricle.errors import AuricleError

PATIENCE = 15.0
"""Seconds for one answer of the API server."""
AT_ONCE = 4
CLASSES = threading.Lock()
"""Held while a class is made in lightkube's table."""
PUBLIC = "tls.crt"
SET = "set"
"""Stands in the snapshot for a secret's value."""


class Unreachable(AuricleError):
    """There is no cluster to look at; the message says why, and what to do."""


Answer = tuple[Sight, tuple[Mapping[str, Any], ...], Lack | None]


def look(namespace: str, context: str | None, letters: Callable[[], int | None]) -> Seen:
    """Everything that the checks ask for. Raises Unreachable with one sentence when the cluster cannot be reached."""
    chosen = _config(context)
    where = f"{chosen.cluster.server} (context {chosen.context_name})"
    try:
        version, now, server_clock = _greeting(chosen)
        with Client(config=chosen, timeout=httpx2.Timeout(PATIENCE)) as client, ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda sight: _read(client, sight, namespace), READS))
            migrated = _printed(client, namespace, next(found for sight, found, _ in answers if sight is Sight.PODS))
    except httpx2.TransportError as error:
        raise Unreachable(
            f"The cluster {where} does not answer: {error}. Check the address and your network, or choose another --context."
        ) from None
    open_letters, silence = _asked(letters)
    objects = {sight: found for sight, found, _ in answers}
    platform = objects[Sight.SERVING_CONFIG]
    return Seen(
        namespace=namespace,
        facts=facts_for("cluster", platform),
        version=version,
        now=now,
        server_clock=server_clock,
        objects=objects,
        lacking={sight: lack for sight, _, lack in answers if lack is not None},
        wanted=wanted_settings(ROOT / "manifests" / "knative"),
        migrated=migrated,
        head=_head(),
        letters=open_letters,
        silence=silence,
    )


def wanted_settings(folder: Path) -> dict[str, dict[str, str]]:
    """What the manifests beside this code set in Knative; nothing where they are not there."""
    files = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
    return knative_settings(item for file in files for item in yaml.safe_load_all(file.read_text()) if item)


def _head() -> str:
    return ScriptDirectory(str(Path(auricle.schema.__file__).parent)).get_current_head() or ""


def _asked(letters: Callable[[], int | None]) -> tuple[int | None, str]:
    """What a server says of its dead letters, or why it does not."""
    try:
        return letters(), ""
    except ServerError as error:
        return None, str(error)


def _config(context: str | None) -> SingleConfig:
    try:
        chosen = KubeConfig.from_env().get(context)
    except (ConfigError, OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        told = " ".join(str(error).split())
        raise Unreachable(f"There is no usable kubeconfig: {told}. Set KUBECONFIG, or choose a --context it has.") from None
    if chosen is None:
        raise Unreachable("The kubeconfig names no current context. Choose one with --context.")
    return chosen


def _greeting(chosen: SingleConfig) -> tuple[str, float, float | None]:
    """Kubernetes' version, our clock, and the API server's clock at the same moment."""
    with client_adapter.Client(chosen, client_adapter.ConnectionParams(timeout=httpx2.Timeout(PATIENCE))) as direct:
        before = time.time()
        answer = direct.get("/version")
        now = time.time()
    if answer.status_code == 401:
        raise Unreachable("The cluster does not accept your credentials (401). Log in again, then repeat this.")
    said = answer.headers.get("date")
    # The header has whole seconds, and was written somewhere between our question and its answer.
    clock = parsedate_to_datetime(said).timestamp() + 0.5 + (now - before) / 2 if said else None
    version = answer.json().get("gitVersion", "") if answer.status_code == 200 else ""
    return str(version), now, clock


def _read(client: Client, sight: Sight, namespace: str) -> Answer:
    read = READS[sight]
    try:
        return sight, tuple(_shown(item, read) for item in _listed(client, read, namespace)), None
    except ApiError as error:
        if error.response.status_code == 403:
            return sight, (), Lack.FORBIDDEN
        if error.response.status_code == 404:
            return sight, (), None if read.name else Lack.UNKNOWN
        return sight, (), Lack.BROKEN
    except httpx2.HTTPStatusError as error:  # a kind that is not installed is no JSON answer
        return sight, (), Lack.UNKNOWN if error.response.status_code == 404 else Lack.BROKEN


def _listed(client: Client, read: Read, namespace: str) -> Iterator[dict[str, Any]]:
    if read.where:
        place = namespace if read.where == OURS else read.where
        yield from (dict(item) for item in client.list(_within(read), namespace=place, chunk_size=250))
    elif read.name:
        yield dict(client.get(_cluster_wide(read), namespace if read.name == OURS else read.name))
    else:
        yield from (dict(item) for item in client.list(_cluster_wide(read), chunk_size=250))


# lightkube takes one class per kind and refuses a second one, and several of our rows mean the same kind.
_namespaced_class = cache(create_namespaced_resource)
_global_class = cache(create_global_resource)


def _within(read: Read) -> type[GenericNamespacedResource]:
    with CLASSES:
        return _namespaced_class(read.group, read.version, read.kind, read.plural)


def _cluster_wide(read: Read) -> type[GenericGlobalResource]:
    with CLASSES:
        return _global_class(read.group, read.version, read.kind, read.plural)


def _api(read: Read) -> str:
    return f"{read.group}/{read.version}" if read.group else read.version


def _shown(item: dict[str, Any], read: Read) -> Mapping[str, Any]:
    """As the checks see it: lists leave out what they are lists of; a Secret keeps its keys."""
    shown = {**item, "apiVersion": _api(read), "kind": read.kind}
    if (read.kind, read.group) == ("Secret", ""):
        data = item.get("data") or {}
        shown["data"] = {key: value if key == PUBLIC else SET if value else "" for key, value in data.items()}
        shown.pop("stringData", None)
        metadata = item.get("metadata") or {}
        shown["metadata"] = {key: value for key, value in metadata.items() if key not in ("annotations", "managedFields")}
    return shown


def _printed(client: Client, namespace: str, pods: tuple[Mapping[str, Any], ...]) -> str:
    """The last line of the newest finished pod of the migrate job; empty when it is gone or not ours to read."""
    done = [
        (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"])
        for pod in pods
        if pod["metadata"].get("labels", {}).get("job-name") == "migrate" and pod.get("status", {}).get("phase") == "Succeeded"
    ]
    if not done:
        return ""
    try:
        lines = list(client.log(max(done)[1], namespace=namespace, tail_lines=1, newlines=False))
    except (ApiError, httpx2.HTTPStatusError):
        return ""
    return lines[-1] if lines else ""
