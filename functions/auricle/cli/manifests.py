"""`auricle manifests …`: from the code to Kubernetes objects, and what is wrong with them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from auricle.deploy.lint import Facts

OVERLAY = click.argument("overlay", type=click.Path(exists=True, path_type=Path))


@click.group()
def manifests() -> None:
    """Render, check, lint and compare the Kubernetes manifests."""


@manifests.command()
def render() -> None:
    """Write the generated part of manifests/ (and the other generated documents) from the code."""
    from auricle.deploy.documents import main

    main(check=False)


@manifests.command()
def check() -> None:
    """Fail when a generated file is out of step with the code."""
    from auricle.deploy.documents import main

    if main(check=True):
        raise click.ClickException("Generated files are out of step. Run `auricle manifests render` and commit what it writes.")


@manifests.command()
@click.argument("overlay", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--rules", "list_rules", is_flag=True, help="List the rules and say what each is about.")
def lint(overlay: tuple[Path, ...], list_rules: bool) -> None:
    """Find what is wrong with OVERLAYs (default: all of ours) that schemas and webhooks do not see."""
    from auricle.deploy.lint import RULES, findings

    if list_rules:
        for rule in RULES.values():
            click.echo(f"{rule.name:<32}{rule.summary}")
        return
    count = 0
    for folder in overlays(overlay):
        for found in findings(objects_of(folder), _facts(folder)):
            count += 1
            click.echo(f"{folder.name}: {found.sentence} ({found.rule}, at {found.path})")
    if count:
        raise click.ClickException(f"{count} {'finding' if count == 1 else 'findings'}.")
    click.echo("Nothing found.")


@manifests.command()
@click.argument("overlay", nargs=-1, type=click.Path(exists=True, path_type=Path))
def budget(overlay: tuple[Path, ...]) -> None:
    """Pods, memory, GPUs and database connections of OVERLAYs (default: all of ours), asleep and at full scale."""
    from auricle.deploy.budget import budget

    for folder in overlays(overlay):
        click.echo(f"{budget(objects_of(folder), _facts(folder)).table()}\n")


@manifests.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--database", default="postgres:5432", show_default=True, help="For functions; with a pooler pgbouncer:6432.")
def secrets(folder: Path, database: str) -> None:
    """Make the secrets of a deployment as files in FOLDER; what is there stays."""
    from auricle.deploy.secretfiles import fill

    changed = fill(folder, database)
    for path in changed:
        click.echo(f"wrote {path}")
    if not changed:
        click.echo("Nothing is missing.")
    click.echo("These files are the keys to everybody's recordings: keep them out of version control, and back them up.")


@manifests.command()
@click.argument("name")
@click.option("--image", "images", multiple=True, metavar="IMAGE=REFERENCE", help="Where api, identity, media and speech are.")
@click.option("--namespace", "-n", default="auricle-system", show_default=True, help="The operator's.")
def release(name: str, images: tuple[str, ...], namespace: str) -> None:
    """Print this code as the release NAME, for the operator: pipe it to `kubectl apply --server-side -f -`."""
    import yaml

    from auricle.deploy.generated import MANIFESTS
    from auricle.deploy.release import config_map
    from auricle.deploy.release import release as made

    named = dict(word.partition("=")[::2] for word in images)
    click.echo(yaml.safe_dump(config_map(made(name, named, MANIFESTS), namespace), sort_keys=False))


@manifests.command()
@OVERLAY
@click.option("--namespace", "-n", default=None, help="The namespace to compare with, when the overlay names none.")
def diff(overlay: Path, namespace: str | None) -> None:
    """Show what applying OVERLAY would change in the cluster that kubectl talks to."""
    built = _kustomized(overlay)
    where = ["-n", namespace] if namespace else []
    done = subprocess.run(
        ["kubectl", "diff", "--server-side", "--force-conflicts", *where, "-f", "-"], input=built, text=True, check=False
    )
    sys.exit(done.returncode)


def objects_of(overlay: Path) -> list[dict[str, Any]]:
    """Every object of an overlay's folder, or of a file of YAML."""
    import yaml

    text = overlay.read_text() if overlay.is_file() else _kustomized(overlay)
    return [found for found in yaml.safe_load_all(text) if found]


def _kustomized(overlay: Path) -> str:
    for command in (["kubectl", "kustomize"], ["kustomize", "build"]):
        try:
            done = subprocess.run([*command, str(overlay)], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            continue
        if done.returncode:
            raise click.ClickException(f"{overlay} does not build: {done.stderr.strip()}")
        return done.stdout
    raise click.ClickException("Neither kubectl nor kustomize is installed: one of them has to put the overlay together.")


def _facts(overlay: Path) -> Facts:
    """What lint knows beside the objects: the code, Knative's settings and RabbitMQ's server as our manifests set them."""
    from auricle.deploy.generated import MANIFESTS
    from auricle.deploy.lint import facts_for

    beneath = [*objects_of(MANIFESTS / "knative"), *objects_of(MANIFESTS / "components" / "rabbitmq" / "server")]
    return facts_for(overlay.name, beneath)


def overlays(chosen: Sequence[Path]) -> list[Path]:
    """`chosen`, or all that the repository has."""
    from auricle.deploy.generated import MANIFESTS

    return list(chosen) or sorted(p.parent for p in (MANIFESTS / "overlays").glob("*/kustomization.yaml"))
