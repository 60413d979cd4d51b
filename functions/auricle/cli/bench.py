"""`auricle bench`: figures of this machine, as ratios within one run. The benches live in the clone, under tests/bench."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

BENCHES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "hops": ("hops.py", (), "Latency of one hop through the broker; events a second."),
    "footprint": ("footprint.py", (), "First answer and memory of each function; memory of the idle host."),
    "sign-in": ("sign_in.py", (), "What it costs to know who asks: no credential, a personal token, a signed one."),
    "pipeline": ("pipeline.py", (), "The pipeline's wall time over raw faster-whisper; two workers over one."),
    "prepare": ("prepare_memory.py", (), "Peak memory of preparing six hours; where the time goes."),
    "diarization": ("diarization.py", (), "What diarizing in chunks costs, over generated conversations."),
    "long": ("long_recording.py", (), "Twelve hours of sparse speech through the whole pipeline."),
}


def bench_folder() -> Path:
    """tests/bench of the clone that this command was installed from."""
    import auricle

    folder = Path(auricle.__file__).parents[2] / "tests" / "bench"
    if not folder.is_dir():
        raise click.ClickException("The benches are not installed with the package. Clone the repository and run `make bench`.")
    return folder


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)))
@click.option("--list", "listing", is_flag=True, help="Only say which there are.")
def bench(names: tuple[str, ...], listing: bool) -> None:
    """Measure this machine. Without NAMES everything is run, in turn; that takes a while."""
    if listing:
        for name, (_, _, about) in BENCHES.items():
            click.echo(f"{name:<12} {about}")
        return
    folder = bench_folder()
    failed = []
    for name in names or tuple(BENCHES):
        script, arguments, about = BENCHES[name]
        click.secho(f"\n{name}: {about}", bold=True)
        if subprocess.run([sys.executable, str(folder / script), *arguments], check=False).returncode:
            failed.append(name)
    if failed:
        raise click.ClickException(f"These did not finish: {', '.join(failed)}")
