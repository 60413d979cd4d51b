"""`auricle keys …`: the keys that sign-ins are signed with, as the two files of which a cluster's Secrets are made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from auricle.adapters.signing.ringfiles import RingFiles

FOLDER = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.group()
def keys() -> None:
    """Make, rotate and list the keys that sign-ins are signed with.

    FOLDER is where `auricle manifests secrets` writes. signing-keys.json is for the function identity alone, jwks.json for all.
    """


@keys.command()
@FOLDER
def new(folder: Path) -> None:
    """Make the first key in FOLDER."""
    ring = _ring(folder)
    ring.make(datetime.now(UTC))
    click.echo(f"wrote {ring.private} and {ring.public}")


@keys.command()
@FOLDER
@click.option("--ahead", default=60, show_default=True, type=click.IntRange(5), help="Minutes until the next key signs.")
def rotate(folder: Path, ahead: int) -> None:
    """Add the next key to FOLDER: published at once, signing later. Nobody is signed out.

    Bring both files to the cluster before it signs. Older keys verify until their last tokens end, and then go by themselves.
    """
    ring = _ring(folder)
    ring.rotate(datetime.now(UTC), timedelta(minutes=ahead))
    _show(ring)
    click.echo(f"Apply the Secrets now: the next key signs in {ahead} minutes, and everybody has to know it by then.")


@keys.command("list")
@FOLDER
def list_keys(folder: Path) -> None:
    """Show the keys in FOLDER: their names, and what each does now."""
    _show(_ring(folder))


@keys.command(context_settings={"ignore_unknown_options": True})  # one name in 64 begins with a hyphen
@FOLDER
@click.argument("kid")
def remove(folder: Path, kid: str) -> None:
    """Remove a stolen key from FOLDER: what it signed is refused, and whoever holds such a token renews it."""
    ring = _ring(folder)
    ring.remove(kid, datetime.now(UTC))
    _show(ring)
    click.echo("Apply the Secrets now: until then the key is believed.")


def _ring(folder: Path) -> RingFiles:
    from auricle.adapters.signing.ringfiles import RingFiles

    return RingFiles(folder)


def _show(ring: RingFiles) -> None:
    now = datetime.now(UTC)
    for key in ring.keys().keys:
        if key.signs(now):
            word = "signs"
        elif key.not_before > now:
            word = f"signs from {key.not_before:%Y-%m-%d %H:%M} UTC"
        else:
            word = "ended" if key.ended(now) else "verifies"
        click.echo(f"{key.kid}  {word}")
