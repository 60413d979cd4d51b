"""What a container is given: image, ports, variables, volumes, probes, memory."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator

from auricle.deploy.catalogue import FunctionEntry
from auricle.deploy.lint.facts import HOST_VARIABLES
from auricle.deploy.lint.places import Fault, quantity
from auricle.deploy.lint.rules import containers, hosts, pods, rule, services
from auricle.deploy.lint.world import Container, Pod, World

RESERVED_PORTS = frozenset({8008, 8012, 8013, 8022, 9090, 9091})
RESERVED_NAMES = frozenset({"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"})
REFUSED = (
    "terminationGracePeriodSeconds",
    "restartPolicy",
    "nodeName",
    "activeDeadlineSeconds",
    "subdomain",
    "overhead",
    "resourceClaims",
    "hostname",
    "hostUsers",
    "preemptionPolicy",
    "readinessGates",
    "priority",
)
REFUSED_IN_CONTAINER = ("lifecycle", "stdin", "stdinOnce", "tty", "volumeDevices")
PROBES = {"readinessProbe": "/readyz", "livenessProbe": "/healthz"}
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_TAG = re.compile(r":([\w][\w.-]{0,127})$")


@rule(over=containers)
def image_without_digest(container: Container, world: World) -> Iterator[Fault]:
    """In `cluster`, an image by tag: another node may run other bytes under the same name."""
    image = container.place / "image"
    if world.facts.overlay == "cluster" and not _DIGEST.search(image.text):
        yield image.fault(
            f"runs {image.text or 'no image'}, which is not pinned", "Name the image by digest (images: … digest: sha256:…)"
        )


@rule(over=containers)
def floating_tag(container: Container, world: World) -> Iterator[Fault]:
    """An image without tag or with `latest`: nobody knows what runs, and Knative sees no change in a new build."""
    image = container.place / "image"
    tag = _TAG.search(image.text.rpartition("/")[2])
    if not _DIGEST.search(image.text) and world.facts.overlay != "cluster" and (not tag or tag[1] == "latest"):
        yield image.fault(
            f"runs {image.text or 'no image'} without a version", "Give the image a tag of its own (images: … newTag)"
        )


@rule(over=services)
def reserved_port(pod: Pod, world: World) -> Iterator[Fault]:
    """A port that queue-proxy has, or more than one port: the webhook refuses the Service."""
    ports = [port for c in pod.containers(init=False) for port in (c.place / "ports").each()]
    for port in ports:
        number = port / "containerPort"
        if number.number in RESERVED_PORTS:
            yield number.fault(f"listens on {number.text}, which Knative's own proxy takes", "Listen on 8080")
    if len(ports) > 1:
        yield ports[1].fault(f"names {len(ports)} ports, and Knative serves one", "Leave one port in one container")


@rule(over=services)
def reserved_variable(pod: Pod, world: World) -> Iterator[Fault]:
    """A variable that Knative sets itself: the webhook refuses the Service."""
    for container in pod.containers(init=False):
        for variable in (container.place / "env").each():
            name = (variable / "name").text
            if name in RESERVED_NAMES:
                yield variable.fault(
                    f"sets {name}, which Knative sets", f"Remove {name}; name the port by ports: containerPort"
                )


@rule(over=services)
def refused_field(pod: Pod, world: World) -> Iterator[Fault]:
    """A field of pods that Knative does not pass on."""
    places = [pod.spec / name for name in REFUSED]
    places += [c.place / name for c in pod.containers(init=False) for name in REFUSED_IN_CONTAINER]
    for place in places:
        if place.present:
            field = place.path.rpartition(".")[2]
            yield place.fault(f"sets {field}, which Knative refuses", f"Remove {field}; a pod's grace is its timeoutSeconds")


@rule(over=containers)
def variable_given_twice(container: Container, world: World) -> Iterator[Fault]:
    """The same variable twice: the last one wins, and nobody sees it."""
    counted = Counter((variable / "name").text for variable in (container.place / "env").each())
    for name in (name for name, times in counted.items() if times > 1):
        yield (container.place / "env").fault(f"gives {container.name} {name} {counted[name]} times", f"Leave one {name}")


@rule(over=hosts)
def unknown_setting(host: tuple[Container, list[FunctionEntry]], world: World) -> Iterator[Fault]:
    """A variable that no setting reads: a misspelled setting is silently its default."""
    container, _ = host
    known = {*world.facts.settings, *HOST_VARIABLES}
    named = {(v / "name").text for v in (container.place / "env").each()} | set(world.environment(container))
    for name in sorted(named - known):
        if known and not name.startswith(("OTEL_", "PYTHON", "K_", "SSL_", "NVIDIA_", "CUDA_", "OMP_")):
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
            yield (container.place / "env").fault(
                f"is given {name}, which nothing reads",
                f"Write {near[0]}" if near else f"Remove {name} (runtime/settings.py has the list)",
            )


@rule(over=containers)
def unknown_function(container: Container, world: World) -> Iterator[Fault]:
    """AURICLE_FUNCTION names something that the code does not declare: the process does not start."""
    words = world.environment(container).get("AURICLE_FUNCTION", "")
    for name in world.facts.chosen(words)[1]:
        near = difflib.get_close_matches(name, [f.name for f in world.facts.catalogue], n=1, cutoff=0.4)
        remedy = f"Write {near[0]}" if near else "Name a declared function (auricle manifests render)"
        yield (container.place / "env").fault(f"runs the function {name!r}, which nobody declares", remedy)


@rule(over=hosts)
def wrong_image(host: tuple[Container, list[FunctionEntry]], world: World) -> Iterator[Fault]:
    """A function in another image than it is declared for: its libraries are not in there."""
    container, entries = host
    image = (container.place / "image").text
    short = _TAG.sub("", image.partition("@")[0].rpartition("/")[2])
    for entry in entries:
        if (
            short.startswith("auricle-")
            and short != f"auricle-{entry.image}"
            and not short.startswith(f"auricle-{entry.image}-")
        ):
            yield (container.place / "image").fault(
                f"runs {entry.name} in the image {short}, and it is declared for {entry.image}",
                f"Use the image auricle-{entry.image}",
            )


@rule(over=containers)
def undeclared_volume(container: Container, world: World) -> Iterator[Fault]:
    """A mount of a volume that the pod does not have."""
    claimed = (container.pod.owner / "spec" / "volumeClaimTemplates").each()
    declared = {(v / "name").text for v in (container.pod.spec / "volumes").each()}
    declared |= {(v / "metadata" / "name").text for v in claimed}
    for mount in (container.place / "volumeMounts").each():
        name = (mount / "name").text
        if name not in declared:
            yield mount.fault(
                f"mounts {name}, which the pod does not declare", f"Add {name} to the pod's volumes, or remove the mount"
            )


@rule(over=pods)
def unmounted_volume(pod: Pod, world: World) -> Iterator[Fault]:
    """A volume that no container mounts: Knative refuses the Service, elsewhere it is left over."""
    mounted = {(m / "name").text for c in pod.containers() for m in (c.place / "volumeMounts").each()}
    for volume in (pod.spec / "volumes").each():
        name = (volume / "name").text
        if name not in mounted:
            yield volume.fault(f"declares the volume {name}, and no container mounts it", f"Mount {name} or remove it")


@rule(over=services)
def writable_mount(pod: Pod, world: World) -> Iterator[Fault]:
    """A mount that may write a volume that may only be read: the webhook refuses the Service."""
    volumes = [*(pod.spec / "volumes").each()]
    sealed = {(v / "name").text for v in volumes if (v / "persistentVolumeClaim" / "readOnly").value is True}
    for container in pod.containers():
        for mount in (container.place / "volumeMounts").each():
            name = (mount / "name").text
            if name in sealed and (mount / "readOnly").value is not True:
                yield mount.fault(f"mounts {name} to write it, and the volume is read-only", "Set readOnly: true on the mount")


@rule(over=pods)
def missing_probe(pod: Pod, world: World) -> Iterator[Fault]:
    """A server without probes gets requests before it is ready, and keeps them when it hangs."""
    if pod.serves:
        for container in pod.containers(init=False):
            for probe in PROBES:
                if not (container.place / probe).present:
                    yield (container.place / probe).fault(
                        f"has no {probe} in {container.name}", f"Add one (a function answers {PROBES[probe]})"
                    )


@rule(over=hosts)
def unknown_probe_path(host: tuple[Container, list[FunctionEntry]], world: World) -> Iterator[Fault]:
    """A probe of a path that functions do not answer as a probe."""
    container, _ = host
    for probe, path in PROBES.items():
        place = container.place / probe / "httpGet" / "path"
        if (container.place / probe).present and place.text != path:
            yield place.fault(
                f"is asked {place.text or 'nothing'} as {probe}, and functions answer {path}",
                f"Set {probe}.httpGet.path: {path}",
            )


@rule(over=containers)
def missing_memory(container: Container, world: World) -> Iterator[Fault]:
    """No memory request (packed onto full nodes) or no memory limit (takes its neighbours down)."""
    for field in ("requests", "limits"):
        place = container.place / "resources" / field / "memory"
        if not place.present:
            yield place.fault(f"states no memory {field} for {container.name}", f"Set resources.{field}.memory in the overlay")


@rule(over=containers)
def request_above_limit(container: Container, world: World) -> Iterator[Fault]:
    """More asked for than allowed."""
    resources = container.place / "resources"
    for name in (resources / "requests").mapping:
        asked, allowed = quantity((resources / "requests" / name).value), quantity((resources / "limits" / name).value)
        if asked is not None and allowed is not None and asked > allowed:
            yield (resources / "requests" / name).fault(
                f"requests {(resources / 'requests' / name).text} {name} and may have {(resources / 'limits' / name).text}",
                "Lower the request or raise the limit",
            )
