"""Who holds which secret: exactly what the signatures of its functions ask for."""

from __future__ import annotations

from collections.abc import Iterator

from auricle.contract.choices import Image
from auricle.deploy.catalogue import FunctionEntry
from auricle.deploy.lint.facts import SECRETS
from auricle.deploy.lint.places import Fault, Place
from auricle.deploy.lint.rules import containers, hosts, objects, rule
from auricle.deploy.lint.world import Container, World
from auricle.deploy.secretobjects import LAPTOP_ONLY, SECRET_FILES, SECRET_OBJECTS

Host = tuple[Container, list[FunctionEntry]]
SECRET_VARIABLES = frozenset(name.upper() for name in SECRET_OBJECTS)
FILES = {name.upper(): file for name, file in SECRET_FILES.items()}
"""Variable that names a mounted file → that file."""
OURS = frozenset(SECRETS)
"""Secrets with one purpose each. What else an installation mounts, its own authority for example, is its own business."""


def _held(container: Container) -> dict[str, Place]:
    """The variables that come from Secrets."""
    return {
        (variable / "name").text: variable
        for variable in (container.place / "env").each()
        if (variable / "valueFrom" / "secretKeyRef").present
    }


def _needed(entries: list[FunctionEntry]) -> set[str]:
    return {secret.upper() for entry in entries for secret in entry.secrets if secret not in LAPTOP_ONLY}


def _needed_objects(entries: list[FunctionEntry]) -> set[str]:
    """The Secrets that may be mounted into a process of these functions."""
    return {FILES[name].secret for name in _needed(entries) if name in FILES}


def _names(entries: list[FunctionEntry]) -> str:
    return ", ".join(entry.name for entry in entries)


def _secret_volumes(container: Container) -> Iterator[Place]:
    for volume in (container.pod.spec / "volumes").each():
        if (volume / "secret").present:
            yield volume
        for source in (volume / "projected" / "sources").each():
            if (source / "secret").present:
                yield source


def _secret_of(place: Place) -> str:
    """The Secret that a volume, or a part of a projected one, is made of."""
    return (place / "secret" / "secretName").text or (place / "secret" / "name").text


def _within(path: str, folder: str) -> bool:
    return bool(path and folder) and path.startswith(folder.rstrip("/") + "/")


@rule(over=hosts)
def needless_secret(host: Host, world: World) -> Iterator[Fault]:
    """A secret that no signature of the function asks for."""
    container, entries = host
    if all(entry.image is Image.SPEECH for entry in entries):
        return  # said more clearly by secret-on-speech
    for name, place in _held(container).items():
        if name not in _needed(entries):
            yield place.fault(f"is given {name}, which {_names(entries)} does not need", f"Remove {name}")
    for place in _secret_volumes(container):
        name = _secret_of(place)
        if name in OURS and name not in _needed_objects(entries):
            yield place.fault(f"mounts the Secret {name}, which {_names(entries)} does not need", "Remove the volume")


@rule(over=hosts)
def missing_secret(host: Host, world: World) -> Iterator[Fault]:
    """A secret that the function needs and does not get: it fails at its first use."""
    container, entries = host
    needed = _needed(entries)
    for name in sorted(needed - set(_held(container)) - set(FILES)):
        held_by = SECRET_OBJECTS.get(name.lower(), f"auricle-{name.lower().replace('_', '-')}")
        yield (container.place / "env").fault(
            f"is not given {name}, which {_names(entries)} needs",
            f"Add env {name} by valueFrom.secretKeyRef: {{name: {held_by}, key: {name}}}",
        )
    for name in sorted(needed & set(FILES)):
        path = world.environment(container).get(name, "")
        if not any(_within(path, (mount / "mountPath").text) for mount in (container.place / "volumeMounts").each()):
            yield (container.place / "volumeMounts").fault(
                f"is not given the file {name}, which {_names(entries)} needs",
                f"Mount the Secret {FILES[name].secret} at {FILES[name].folder} and set {name} to {FILES[name].path}",
            )


@rule(over=hosts)
def secret_on_speech(host: Host, world: World) -> Iterator[Fault]:
    """Any secret at all where tenants share the processor: speech functions get signed URLs and nothing else."""
    container, entries = host
    if any(entry.image is Image.SPEECH for entry in entries):
        for place in (*_held(container).values(), *_secret_volumes(container)):
            yield place.fault(
                f"gives the speech function {_names(entries)} the secret {(place / 'name').text or 'volume'}",
                "Remove it: its events carry signed URLs",
            )


@rule(over=containers)
def whole_secret(container: Container, world: World) -> Iterator[Fault]:
    """All keys of a Secret as variables: the next key that is added comes along."""
    for source in (container.place / "envFrom").each():
        if (source / "secretRef").present:
            name = (source / "secretRef" / "name").text
            yield source.fault(f"takes every key of the Secret {name}", "Name each variable with valueFrom.secretKeyRef")


@rule(over=containers)
def secret_in_clear(container: Container, world: World) -> Iterator[Fault]:
    """A secret's value in a manifest."""
    for variable in (container.place / "env").each():
        name = (variable / "name").text
        if name in SECRET_VARIABLES and (variable / "value").text:
            yield (variable / "value").fault(
                f"carries the value of {name} in clear", "Take it from a Secret by valueFrom.secretKeyRef"
            )


@rule(over=objects("ConfigMap"))
def secret_in_settings(config: Place, world: World) -> Iterator[Fault]:
    """A secret's value in a ConfigMap, which everybody in the namespace may read."""
    for name in sorted(SECRET_VARIABLES & set((config / "data").mapping)):
        if (config / "data" / name).text:
            yield (config / "data" / name).fault(
                f"holds {name} in clear", f"Move it to the Secret {SECRET_OBJECTS[name.lower()]}"
            )


@rule(over=containers)
def unknown_secret_key(container: Container, world: World) -> Iterator[Fault]:
    """A key that the Secret does not have: the pod never starts."""
    for name, variable in _held(container).items():
        reference = variable / "valueFrom" / "secretKeyRef"
        secret, key = (reference / "name").text, (reference / "key").text
        made = world.named("Secret", secret, container.pod.owner.namespace)
        keys = {*(made / "data").mapping, *(made / "stringData").mapping} if made else world.facts.secrets.get(secret)
        if keys is not None and key not in keys and (reference / "optional").value is not True:
            yield (reference / "key").fault(
                f"reads {key} for {name} out of {secret}, which has {', '.join(sorted(keys))}",
                f"Take the key {name} from the Secret that has it",
            )
