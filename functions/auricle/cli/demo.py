"""`auricle demo`: the main job on a real recording, with the truth beside it."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from auricle.cli.client import Server, ServerError
from auricle.cli.embedded import embedded_host
from auricle.cli.following import bars
from auricle.cli.transcribe import put_through

CHUNK_SECONDS = 30.0
"""Short chunks, so that two minutes of meeting show how many pieces are worked on at once."""
SPEAKER_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


@click.command()
@click.option("--video", is_flag=True, help="Use the MP4 instead of the FLAC.")
@click.option("--chunk-seconds", type=float, default=CHUNK_SECONDS, show_default=True)
def demo(video: bool, chunk_seconds: float) -> None:
    """Put the shipped meeting through the whole pipeline; read it, and see how right it is."""
    folder = demo_folder()
    recording = folder / ("meeting.mp4" if video else "meeting.flac")
    console = Console()
    began = time.monotonic()
    console.print(f"[bold]Auricle demo[/] · {recording.name}: two minutes, three speakers. Every step is a CloudEvent.\n")
    with console.status("Starting the embedded host (PostgreSQL, broker, functions)…"):
        host = embedded_host()
        server = host.__enter__()
    started = time.monotonic()
    try:
        with bars(console) as shown:
            run = put_through(server, recording, {"chunk_seconds": chunk_seconds}, shown)
        done = time.monotonic()
        transcript = server.call("GET", f"/api/files/{run['file_id']}/transcript")
        print_transcript(console, transcript)
        _print_scores(console, json.loads((folder / "meeting.json").read_text()), transcript)
        _print_times(console, server, run, started - began, done - started, transcript["duration"])
    except ServerError as error:
        raise click.ClickException(str(error)) from error
    finally:
        host.__exit__(None, None, None)


def demo_folder() -> Path:
    """The recordings and models that ship with Auricle."""
    import auricle_gpu

    return Path(auricle_gpu.__file__).parent / "demo"


def print_transcript(console: Console, transcript: dict[str, Any]) -> None:
    """Who said what, when."""
    labels = [speaker["label"] for speaker in transcript["speakers"]]
    console.print()
    for segment in transcript["segments"]:
        speaker = segment["speaker"]
        colour = SPEAKER_COLOURS[labels.index(speaker) % len(SPEAKER_COLOURS)] if speaker in labels else "white"
        minutes, seconds = divmod(segment["start"], 60)
        console.print(
            f"[dim]{int(minutes):02}:{seconds:04.1f}[/] [{colour}]{speaker or '—'}[/] {segment['text']}", highlight=False
        )
    console.print()


def _print_scores(console: Console, truth: dict[str, Any], transcript: dict[str, Any]) -> None:
    from auricle.transcripts.scoring import score

    found = score(truth, transcript)
    table = Table(box=None, show_header=False)
    table.add_row("Word error rate", f"[bold]{found.wer:.1%}[/]")
    table.add_row("Right speaker, of the words heard", f"[bold]{found.speaker_word_accuracy:.1%}[/]")
    table.add_row("Speakers", f"{found.speakers_found} found, {found.speakers_true} true")
    console.print(table)
    console.print("[dim]The demo model knows 249 English words of synthetic speech. For people: auricle models list[/]\n")


def _print_times(console: Console, server: Server, run: dict[str, Any], host: float, pipeline: float, duration: float) -> None:
    whole = server.call("GET", f"/api/runs/{run['id']}")
    table = Table("where the time went", "seconds", box=None)
    table.add_row("start the host", f"{host:.1f}")
    for step in whole["steps"]:
        if step["started_at"] and step["finished_at"]:
            span = datetime.fromisoformat(step["finished_at"]) - datetime.fromisoformat(step["started_at"])
            table.add_row(step["name"], f"{span.total_seconds():.1f}")
    table.add_row("[bold]upload to transcript (steps overlap)", f"[bold]{pipeline:.1f}")
    console.print(table)
    console.print(f"[dim]{duration / pipeline:.1f} × real time, worker start included.[/]")
