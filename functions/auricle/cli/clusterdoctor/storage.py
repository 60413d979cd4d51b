"""Volumes: bound, of a class, and the models where speech reads them."""

from __future__ import annotations

from collections.abc import Iterator

from auricle.cli.clusterdoctor.seen import Seen, Sight, names
from auricle.cli.clusterdoctor.table import Said, check, note, ok, problem
from auricle.contract.choices import Image
from auricle.deploy.lint.places import Place
from auricle.deploy.lint.world import Container

DEFAULT = "storageclass.kubernetes.io/is-default-class"
LATER = "WaitForFirstConsumer"
DEMO = "-demo"


@check(Sight.STORAGE_CLASSES, Sight.CLAIMS)
def storage_class(seen: Seen) -> Iterator[Said]:
    """Where volumes come from when nobody says."""
    found = seen.of(Sight.STORAGE_CLASSES)
    default = [c.name for c in found if c.annotation(DEFAULT).text == "true"]
    silent = [c.name for c in seen.of(Sight.CLAIMS) if not (c / "spec" / "storageClassName").text and not _bound(c)]
    lost = [c for c in seen.of(Sight.CLAIMS) if (c / "spec" / "storageClassName").text not in ("", *(f.name for f in found))]
    fine = True
    for claim in lost:
        if not _bound(claim):
            fine = False
            yield problem(
                f"{claim.label} asks for the StorageClass {(claim / 'spec' / 'storageClassName').text}, which does not exist.",
                f"Name one there is ({names(c.name for c in found) or 'none'}) in the overlay.",
            )
    if not default:
        grade = problem if silent else note
        yield grade(
            f"No StorageClass is the default{f', and {names(silent)} names none' if silent else ''}.",
            f"kubectl annotate storageclass {found[0].name if found else 'NAME'} {DEFAULT}=true",
        )
    elif len(default) > 1:
        yield note(
            f"Several StorageClasses are the default: {names(default)}.",
            f"kubectl annotate storageclass {default[0]} {DEFAULT}-",
        )
    elif fine:
        yield ok(f"{default[0]} is the default")


@check(Sight.CLAIMS)
def volumes(seen: Seen) -> Iterator[Said]:
    """Every claim has its volume, or has nobody who waits for it."""
    found = seen.of(Sight.CLAIMS)
    bad = waiting = 0
    for claim in found:
        if _bound(claim):
            continue
        phase = (claim / "status" / "phase").text or "Pending"
        if phase == "Lost":
            bad += 1
            yield problem(
                f"{claim.label} has lost its volume.", f"Restore it from a backup: {seen.kubectl(f'describe pvc {claim.name}')}"
            )
        elif _later(seen, claim) and not _used(seen, claim.name):
            waiting += 1
        else:
            bad += 1
            yield problem(
                f"{claim.label} has no volume yet ({phase}).",
                f"See what the provisioner says: {seen.kubectl(f'describe pvc {claim.name}')}",
            )
    if not bad:
        more = f", {waiting} made when first used" if waiting else ""
        yield ok(f"{len(found) - waiting} bound{more}")


def _bound(claim: Place) -> bool:
    return (claim / "status" / "phase").text == "Bound"


def _later(seen: Seen, claim: Place) -> bool:
    """Whether its class makes the volume for the first pod. Where classes cannot be read, that is supposed."""
    if Sight.STORAGE_CLASSES in seen.lacking:
        return True
    found = seen.named(Sight.STORAGE_CLASSES, (claim / "spec" / "storageClassName").text)
    return found is not None and (found / "volumeBindingMode").text == LATER


def _used(seen: Seen, claim: str) -> bool:
    """Whether a pod waits for it."""
    return any(
        (volume / "persistentVolumeClaim" / "claimName").text == claim
        for pod in seen.of(Sight.PODS)
        if (pod / "status" / "phase").text in ("Pending", "Running")
        for volume in (pod / "spec" / "volumes").each()
    )


@check(Sight.SERVICES, Sight.CLAIMS, Sight.CONFIG_MAPS)
def models(seen: Seen) -> Iterator[Said]:
    """Speech models: on a volume that every speech pod reads and none writes; or the demo models of the image."""
    speech = [(container, entries) for container, entries in seen.world.hosts if any(e.image is Image.SPEECH for e in entries)]
    bad = 0
    chosen: set[str] = set()
    for container, _ in speech:
        found = {str(seen.world.setting(container, name)) for name in ("TRANSCRIBE_MODEL", "DIARIZE_MODEL")}
        chosen |= found
        for said in _model_volume(seen, container, all(name.endswith(DEMO) for name in found)):
            bad += 1
            yield said
    if bad or not speech:
        return
    if all(name.endswith(DEMO) for name in chosen):
        yield note(
            "Only the demo models are chosen: they know 249 English words.",
            "Add components/cpu or components/gpu, fill their volume (gpu-pool/nodepool), and set TRANSCRIBE_MODEL.",
        )
    else:
        yield ok(names(sorted(chosen)))


def _model_volume(seen: Seen, container: Container, demo: bool) -> Iterator[Said]:
    service = container.pod.owner.name
    mounts = {(m / "name").text: m for m in (container.place / "volumeMounts").each()}
    claims = [v for v in (container.pod.spec / "volumes").each() if (v / "persistentVolumeClaim").present]
    if not claims and not demo:
        yield problem(
            f"Service {service} is told to use real models and mounts no volume of models.",
            "Add components/cpu or components/gpu.",
        )
    for volume in claims:
        claim = (volume / "persistentVolumeClaim" / "claimName").text
        mount = mounts.get((volume / "name").text)
        if seen.named(Sight.CLAIMS, claim) is None:
            yield problem(f"Service {service} mounts the claim {claim}, which does not exist.", "Apply components/gpu/models.")
        elif (volume / "persistentVolumeClaim" / "readOnly").value is not True and (
            mount is None or (mount / "readOnly").value is not True
        ):
            yield problem(
                f"Service {service} may write the volume of models, which every tenant's speech reads.",
                "Set readOnly: true on the volume and its mount.",
            )
