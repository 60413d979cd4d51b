"""Pod Security `restricted`, for every pod template whatever makes it, and what `restricted` leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from auricle.deploy.lint.places import Fault, Place
from auricle.deploy.lint.rules import containers, pods, rule
from auricle.deploy.lint.world import Container, Pod, World

VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"}
)
SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    }
)
RESTRICTED = "Pod Security `restricted` refuses it"


def _either(container: Container, *path: str) -> Place:
    """A security setting of a container, or of its pod where the container says nothing."""
    own, pods_ = container.place / "securityContext", container.pod.spec / "securityContext"
    for key in path:
        own, pods_ = own / key, pods_ / key
    return own if own.present else pods_ if pods_.present else own


@rule(over=pods)
def host_namespace(pod: Pod, world: World) -> Iterator[Fault]:
    """The node's network, processes or IPC."""
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        place = pod.spec / field
        if place.value:
            yield place.fault(f"shares the node ({field}); {RESTRICTED}", f"Remove {field}")


@rule(over=pods)
def host_path(pod: Pod, world: World) -> Iterator[Fault]:
    """A folder of the node as a volume: never."""
    for volume in (pod.spec / "volumes").each():
        if (volume / "hostPath").present:
            path = (volume / "hostPath" / "path").text
            yield (volume / "hostPath").fault(
                f"mounts {path} of the node; {RESTRICTED}",
                "Use a PersistentVolumeClaim (a local PersistentVolume where it must be fast)",
            )


@rule(over=pods)
def volume_kind(pod: Pod, world: World) -> Iterator[Fault]:
    """A kind of volume that `restricted` does not know."""
    for volume in (pod.spec / "volumes").each():
        for kind in volume.mapping:
            if kind not in VOLUMES | {"name", "hostPath"}:
                yield (volume / kind).fault(f"has a volume of the kind {kind}; {RESTRICTED}", "Use a PersistentVolumeClaim")


@rule(over=pods)
def host_port(pod: Pod, world: World) -> Iterator[Fault]:
    """A port of the node."""
    for container in pod.containers():
        for port in (container.place / "ports").each():
            if (port / "hostPort").value:
                yield (port / "hostPort").fault(
                    f"takes port {(port / 'hostPort').text} of its node; {RESTRICTED}", "Remove hostPort and use a Service"
                )


@rule(over=pods)
def unsafe_sysctl(pod: Pod, world: World) -> Iterator[Fault]:
    """A kernel parameter that is not namespaced."""
    for sysctl in (pod.spec / "securityContext" / "sysctls").each():
        if (sysctl / "name").text not in SYSCTLS:
            yield sysctl.fault(f"sets the kernel parameter {(sysctl / 'name').text}; {RESTRICTED}", "Remove the sysctl")


@rule(over=containers)
def privileged(container: Container, world: World) -> Iterator[Fault]:
    """A container that is root on its node."""
    place = container.place / "securityContext" / "privileged"
    if place.value:
        yield place.fault(f"runs {container.name} privileged; {RESTRICTED}", "Remove privileged")


@rule(over=containers)
def privilege_escalation(container: Container, world: World) -> Iterator[Fault]:
    """A process that may gain rights it did not start with."""
    place = container.place / "securityContext" / "allowPrivilegeEscalation"
    if place.value is not False:
        yield place.fault(
            f"lets {container.name} gain privileges; {RESTRICTED}",
            "Set securityContext.allowPrivilegeEscalation: false on the container",
        )


@rule(over=containers)
def capabilities(container: Container, world: World) -> Iterator[Fault]:
    """Kernel capabilities that nobody needs."""
    place = container.place / "securityContext" / "capabilities"
    if "ALL" not in (place / "drop").words:
        yield (place / "drop").fault(
            f"keeps kernel capabilities in {container.name}; {RESTRICTED}", "Set capabilities.drop: [ALL]"
        )
    more = [name for name in (place / "add").words if name != "NET_BIND_SERVICE"]
    if more:
        yield (place / "add").fault(f"adds {', '.join(more)} in {container.name}; {RESTRICTED}", "Remove capabilities.add")


@rule(over=containers)
def runs_as_root(container: Container, world: World) -> Iterator[Fault]:
    """User 0, or nobody says that it is not."""
    declared, user = _either(container, "runAsNonRoot"), _either(container, "runAsUser")
    if declared.value is not True:
        yield declared.fault(f"may run {container.name} as root; {RESTRICTED}", "Set securityContext.runAsNonRoot: true")
    if user.value == 0:
        yield user.fault(f"runs {container.name} as user 0; {RESTRICTED}", "Set securityContext.runAsUser: 65532")


@rule(over=containers)
def seccomp(container: Container, world: World) -> Iterator[Fault]:
    """Every system call allowed."""
    place = _either(container, "seccompProfile", "type")
    if place.value not in ("RuntimeDefault", "Localhost"):
        yield place.fault(
            f"runs {container.name} without a seccomp profile; {RESTRICTED}", "Set seccompProfile: {type: RuntimeDefault}"
        )


@rule(over=containers)
def unmasked_proc(container: Container, world: World) -> Iterator[Fault]:
    """/proc without its masks."""
    place = container.place / "securityContext" / "procMount"
    if place.text not in ("", "Default"):
        yield place.fault(f"unmasks /proc in {container.name}; {RESTRICTED}", "Remove procMount")


@rule(over=containers)
def writable_root(container: Container, world: World) -> Iterator[Fault]:
    """A root file system that can be written: whoever breaks in stays."""
    place = container.place / "securityContext" / "readOnlyRootFilesystem"
    if place.value is not True:
        yield place.fault(
            f"lets {container.name} write its own file system",
            "Set readOnlyRootFilesystem: true and mount an emptyDir where it writes",
        )


@rule(over=pods)
def mounted_token(pod: Pod, world: World) -> Iterator[Fault]:
    """A Kubernetes credential in a pod that never asks Kubernetes."""
    place = pod.spec / "automountServiceAccountToken"
    if place.value is False or world.asks_kubernetes(pod):
        return
    account = world.named("ServiceAccount", (pod.spec / "serviceAccountName").text, pod.owner.namespace)
    if place.value is True or not account or (account / "automountServiceAccountToken").value is not False:
        yield place.fault(
            "is given a token of the Kubernetes API, which it never asks", "Set automountServiceAccountToken: false"
        )


@rule(over=pods)
def borrowed_service_account(pod: Pod, world: World) -> Iterator[Fault]:
    """A service account that is the namespace's default or another object's: one identity each, or policies cannot tell."""
    place = pod.spec / "serviceAccountName"
    if not place.text or place.text == "default":
        if world.functions(pod):
            yield place.fault(
                "runs as the namespace's default service account",
                f"Give it one of its own: serviceAccountName: {pod.owner.name}",
            )
        return
    others = [
        p.owner.label
        for p in world.pods
        if p is not pod and p.owner.namespace == pod.owner.namespace and (p.spec / "serviceAccountName").text == place.text
    ]
    if others:
        yield place.fault(
            f"shares the service account {place.text} with {', '.join(others)}", "Give each a ServiceAccount of its own name"
        )
