"""`auricle audit`: read the trail, take it away, and check that nobody has changed it, here or without any server."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from auricle.cli.client import Server
from auricle.cli.servers import running_server, server_options

if TYPE_CHECKING:
    from auricle.admin.audit.chain import Anchor, Entry

FILTERS = ("kind", "outcome", "actor", "subject_id", "address", "since", "until")
SHOWN = 50


def filters(command: Any) -> Any:
    """Options for which entries; those that are not given narrow nothing."""
    for name in reversed(FILTERS):
        command = click.option(f"--{name.replace('_', '-')}", name, help=HELP[name])(command)
    return command


HELP = {
    "kind": "What happened, such as auth.login.",
    "outcome": "success or failure.",
    "actor": "Id of who did it.",
    "subject_id": "Id of what it was done to.",
    "address": "Where it was asked from.",
    "since": "Time with its zone, such as 2025-01-31T00:00:00Z.",
    "until": "Time with its zone; entries of that moment are not included.",
}


@click.group()
def audit() -> None:
    """List, export and verify the audit trail."""


@audit.command("list")
@click.option("--limit", default=SHOWN, show_default=True, type=click.IntRange(1), help="How many.")
@filters
@server_options
def list_entries(server: Server | None, limit: int, **which: str | None) -> None:
    """The newest entries."""
    table = Table("at", "what", "outcome", "who", "to what", "from", box=None)
    for number, entry in enumerate(running_server(server).pages("/api/audit", **which), 1):
        subject = " ".join(filter(None, (entry.get("subject_kind"), entry.get("subject_id"))))
        who = entry.get("actor") or entry["actor_kind"]
        table.add_row(entry["at"][:19], entry["kind"], entry["outcome"], who, subject, entry.get("address", ""))
        if number == limit:
            break
    Console().print(table if table.row_count else "None.")


@audit.command()
@click.option("--format", "form", type=click.Choice(["jsonl", "csv", "cef"]), default="jsonl", show_default=True)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File to write. Default: standard output.")
@filters
@server_options
def export(server: Server | None, form: str, output: Path | None, **which: str | None) -> None:
    """Everything, or what the options choose, oldest first. Only a jsonl export of everything can be verified."""
    blocks = running_server(server).stream("/api/audit/export", format=form, **which)
    with click.open_file(str(output or "-"), "wb") as file:
        for block in blocks:
            file.write(block)


@audit.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@server_options
def fetch(server: Server | None, folder: Path) -> None:
    """Download the published days that are not in FOLDER yet."""
    here = running_server(server)
    folder.mkdir(parents=True, exist_ok=True)
    for day in here.call("GET", "/api/audit/published", since="2000-01-01")["items"]:
        path = folder / f"{day['day']}.jsonl.gz"
        if path.exists():
            continue
        data = here.text(f"/api/audit/published/{day['day']}")
        if hashlib.sha256(data).hexdigest() != day["sha256"]:
            raise click.ClickException(f"What is stored for {day['day']} is not what was published. Look at that object.")
        path.write_bytes(data)
        click.echo(path)


@audit.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@server_options
def verify(server: Server | None, files: tuple[Path, ...]) -> None:
    """Check the chain: on the server, or in FILES (published days, folders of them, jsonl exports), without any server."""
    checked = _verified_here(_all(files)) if files else _verified_there(running_server(server))
    click.echo(f"The trail is whole: {checked} entries checked.")


def _verified_here(files: list[Path]) -> int:
    _days_in_a_row(files)
    return sum(_verified(path) for path in files)


def _verified_there(server: Server) -> int:
    checked, first = 0, 1
    while True:
        found = server.call("GET", "/api/audit/verify", first=first)
        checked += int(found["checked"])
        if found["broken"] is not None:
            raise click.ClickException(f"The trail is broken at entry {found['broken']['seq']}: {found['broken']['detail']}")
        if found["next"] is None:
            return checked
        first = found["next"]


def _all(files: Iterable[Path]) -> list[Path]:
    """The files themselves, and those in folders, in the order of their days."""
    found = [path for given in files for path in (given.rglob("*.jsonl*") if given.is_dir() else [given])]
    return [path for path in found if path.suffix != ".sha256"]


def _days_in_a_row(files: list[Path]) -> None:
    """Published days follow each other: nobody takes one out from between."""
    anchors = sorted((found for path in files if (found := _anchor(path))), key=lambda anchor: anchor.day)
    for before, after in pairwise(anchors):
        if before.seq != after.previous_seq or before.hash != after.previous_hash:
            raise click.ClickException(f"{after.day} does not follow from {before.day}: a day is missing, or one is forged.")


def _anchor(path: Path) -> Anchor | None:
    from auricle.admin.audit.export import read_day

    try:
        with _lines(path) as lines:
            return read_day(iter(lines))[0]
    except (OSError, EOFError, ValueError):
        return None


def _verified(path: Path) -> int:
    """How many entries held; an exception with a sentence at the first that does not."""
    from auricle.admin.audit.chain import GENESIS, Entry, Walk
    from auricle.admin.audit.export import read_day

    anchor = _anchor(path)
    with _lines(path) as lines:
        try:
            if anchor is not None:
                entries: Iterator[Entry] = read_day(iter(lines))[1]
                walk = Walk(anchor.previous_seq, bytes.fromhex(anchor.previous_hash))
            else:
                entries = (msgspec.json.decode(line, type=Entry) for line in lines)
                walk = Walk(0, GENESIS)
            count = _walked(path, walk, entries, begun=anchor is not None)
        except (OSError, EOFError, ValueError) as error:
            raise click.ClickException(f"{path} cannot be read as a part of the trail: {error}.") from error
    broken = walk.reaches(anchor.seq, anchor.hash) if anchor is not None else None
    if broken is not None:
        raise click.ClickException(f"{path} is broken at entry {broken.seq}: {broken.detail}")
    return count


def _walked(path: Path, walk: Any, entries: Iterator[Entry], *, begun: bool) -> int:
    count = 0
    for count, entry in enumerate(entries, 1):
        if not begun and count == 1 and entry.seq > 1:
            # What came before was pruned: the first entry is believed, all others follow from it.
            walk.seq, walk.hash = entry.seq, bytes.fromhex(entry.hash)
            continue
        broken = walk.step(entry)
        if broken is not None:
            raise click.ClickException(f"{path} is broken at entry {broken.seq}: {broken.detail}")
    return count


def _lines(path: Path) -> Any:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")
