"""`auricle doctor`: what stands in the way, on this machine or in a cluster, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auricle.cli.client import Server
from auricle.cli.place import data_option

if TYPE_CHECKING:
    from auricle.cli.checks import Finding
    from auricle.cli.clusterdoctor import Finding as ClusterFinding


@click.command()
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Port that `auricle up` is to use."
)
@data_option
@click.option(
    "--cluster", is_flag=True, help="Look at a deployment on Kubernetes instead, by your kubeconfig. Changes nothing."
)
@click.option("--namespace", "-n", default="auricle", show_default=True, help="Its namespace (with --cluster).")
@click.option("--context", help="Context of the kubeconfig (with --cluster). Default: the current one.")
@click.option("--server", "url", help="Auricle's address, to ask it for dead letters too (with --cluster).")
@click.option("--token", envvar="AURICLE_TOKEN", help="Token of an operator for --server.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(
    port: int,
    data: Path,
    cluster: bool,
    namespace: str,
    context: str | None,
    url: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Check Python, data folder, disk, memory, port, database, models and clock; or, with --cluster, a deployment on
    Kubernetes (and with --server its dead letters). Exit status 1 when something is broken."""
    import msgspec

    from auricle.cli.checks import Grade, Place, findings
    from auricle.runtime.settings import settings

    if not cluster and (context or url):
        raise click.UsageError("--context and --server go with --cluster.")
    if url and not token:
        raise click.UsageError("Give a token for --server: --token aur_… or AURICLE_TOKEN.")
    server = Server(url, token) if url and token else None
    found: Iterator[Finding | ClusterFinding]
    listed: list[Finding | ClusterFinding]
    found = _of_cluster(namespace, context, server) if cluster else findings(Place(data=data, port=port, settings=settings()))
    if as_json:
        listed = [*found]
        click.echo(msgspec.json.format(msgspec.json.encode(listed), indent=2))
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        listed = []
        console = Console()
        marks = {Grade.OK: "[green]✓[/]", Grade.NOTE: "[yellow]![/]", Grade.PROBLEM: "[red]✗[/]"}
        for finding in found:
            listed.append(finding)
            line = Table.grid(padding=(0, 1))
            line.add_column(width=1)
            line.add_column(width=18 if cluster else 9)
            line.add_row(marks[finding.grade], finding.name, escape(finding.text))
            remedy = getattr(finding, "remedy", "")
            if remedy:
                line.add_row("", "", f"[dim]{escape(remedy)}[/]")
            console.print(line)
    if any(finding.grade is Grade.PROBLEM for finding in listed):
        raise SystemExit(1)


def _of_cluster(namespace: str, context: str | None, server: Server | None) -> Iterator[ClusterFinding]:
    """What is found in a deployment; lightkube is loaded only here."""
    from auricle.cli.clusterdoctor import findings
    from auricle.cli.clusterdoctor.reading import Unreachable, look

    def letters() -> int | None:
        return None if server is None else sum(1 for _ in server.pages("/api/dead-letters", state="open"))

    try:
        return findings(look(namespace, context, letters))
    except Unreachable as error:
        raise click.ClickException(str(error)) from None
