"""`auricle models`: which speech models there are, and getting them."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from auricle.errors import AuricleError
from auricle.runtime.settings import default_data_dir, settings


def models_folder() -> Path:
    """Where models are kept: MODELS_DIR, else beside the data."""
    return Path(settings().models_dir) if settings().models_dir else default_data_dir() / "models"


@click.group()
def models() -> None:
    """List, pull and verify speech models."""


@models.command("list")
def list_all() -> None:
    """Every model of the catalogue, and which are here."""
    from auricle_gpu.models import list_models

    table = Table("model", "kind", "size", "here?", "about", box=None)
    for model in list_models(models_folder()):
        size = f"{model.size / 1e6:,.0f} MB" if model.size else "?"
        table.add_row(model.name, str(model.kind), size, str(model.state), model.about)
    Console().print(table)


@models.command()
@click.argument("name")
def pull(name: str) -> None:
    """Download a model; a broken download goes on where it stopped."""
    from auricle_gpu.pulling import pull as pull_model

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(name, total=1.0)
            pulled = pull_model(name, models_folder(), lambda fraction: progress.update(task, completed=fraction))
    except AuricleError as error:
        raise click.ClickException(str(error)) from error
    for digest in (f for f in pulled.files if f.path in pulled.first_use):
        click.echo(f"trusted on first use: {digest.path} sha256 {digest.sha256}")
    click.echo(f"{name} is at {pulled.path}.")


@models.command()
@click.argument("names", nargs=-1)
def verify(names: tuple[str, ...]) -> None:
    """Compare models with their recorded sizes and digests; all that are here without NAMES."""
    from auricle_gpu.models import State, list_models
    from auricle_gpu.models import verify as verify_model

    chosen = names or tuple(m.name for m in list_models(models_folder()) if m.state is not State.ABSENT)
    bad = 0
    for name in chosen:
        try:
            verify_model(name, models_folder())
            click.echo(f"{name}: ok")
        except AuricleError as error:
            bad += 1
            click.echo(f"{name}: {error}", err=True)
    raise SystemExit(1 if bad else 0)
