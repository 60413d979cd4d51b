"""`--data`: the folder of the host that a command is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from auricle.runtime.settings import default_data_dir

Command = TypeVar("Command", bound=Callable[..., Any])


def data_option(command: Command) -> Command:
    """The command gets `data`, an absolute path."""
    option = click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        callback=lambda ctx, parameter, value: (value or default_data_dir()).expanduser().resolve(),
        help=f"Folder of the data. Default: {_short(default_data_dir())}",
    )
    return option(command)


def _short(path: Path) -> str:
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)
