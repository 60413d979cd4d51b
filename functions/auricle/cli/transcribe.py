"""`auricle transcribe`: from a recording to its transcript, in one command."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from auricle.cli.client import Server, ServerError
from auricle.cli.embedded import embedded_host
from auricle.cli.following import Bars, bars, follow, run_of_file
from auricle.cli.servers import server_options

FORMATS = ("json", "txt", "srt", "vtt", "csv", "md", "rttm")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write (a folder, for several recordings).")
@click.option("--format", "form", type=click.Choice(FORMATS), default=None, help="Default: by -o's ending, else txt.")
@click.option("--speakers", type=click.IntRange(1, 50), help="How many people speak, if you know.")
@click.option("--min-speakers", type=click.IntRange(1, 50))
@click.option("--max-speakers", type=click.IntRange(1, 50))
@click.option("--no-diarize", is_flag=True, help="Do not tell speakers apart.")
@click.option("--language", help="Language that is spoken, such as en. Default: detect.")
@click.option("--model", help="Speech model. `auricle models list` shows them.")
@click.option("--vocabulary", multiple=True, help="A name or word to expect. Repeat it.")
@click.option("--initial-prompt", help="Text that the model should imagine came before.")
@click.option("--chunk-seconds", type=float, help="Length of the pieces that are worked on at once.")
@server_options
def transcribe(files: tuple[Path, ...], output: Path | None, form: str | None, server: Server | None, **wishes: Any) -> None:
    """Transcribe FILES through the whole pipeline, here or on a server."""
    console = Console(stderr=True)
    form = form or (output.suffix[1:] if output and output.suffix[1:] in FORMATS else "txt")
    if output and len(files) > 1:
        output.mkdir(parents=True, exist_ok=True)
    options = pipeline_options(**wishes)
    host: AbstractContextManager[Server] = nullcontext(server) if server is not None else embedded_host()
    if server is None:
        console.print("[dim]Starting an embedded Auricle for this command…")
    with host as ready:
        for path in files:
            try:
                with bars(console) as shown:
                    run = put_through(ready, path, options, shown)
                text = ready.text(f"/api/files/{run['file_id']}/export", format=form) if form != "json" else None
                text = text or ready.text(f"/api/files/{run['file_id']}/transcript")
            except ServerError as error:
                raise click.ClickException(f"{path.name}: {error}") from error
            for warning in run["warnings"]:
                console.print(f"[yellow]{path.name}: {warning}")
            _write(text, path, output, form, several=len(files) > 1)


def pipeline_options(
    speakers: int | None = None, no_diarize: bool = False, vocabulary: tuple[str, ...] = (), **plain: Any
) -> dict[str, Any]:
    """The upload's options out of the command's."""
    found: dict[str, Any] = {name: value for name, value in plain.items() if value is not None}
    if speakers is not None:
        found["num_speakers"] = speakers
    if no_diarize:
        found["diarize"] = False
    if vocabulary:
        found["vocabulary"] = list(vocabulary)
    return found


def put_through(server: Server, path: Path, options: dict[str, Any], shown: Bars) -> dict[str, Any]:
    """Upload, follow the run, and return it; `ClickException` with the run's own sentence when it failed."""
    shown.show("upload", 0.0)
    file = server.upload(path, options, None, lambda done, size: shown.show("upload", done / size))
    shown.show("upload", 1.0, "done")
    run = follow(server, run_of_file(server, file["id"])["id"], shown)
    if run["state"] != "succeeded":
        raise click.ClickException(f"{path.name}: {run.get('error') or 'the run was ' + run['state']}")
    return run


def _write(text: bytes, path: Path, output: Path | None, form: str, several: bool) -> None:
    if output is None:
        sys.stdout.buffer.write(text if text.endswith(b"\n") else text + b"\n")
        return
    target = output / f"{path.stem}.{form}" if several or output.is_dir() else output
    target.write_bytes(text)
