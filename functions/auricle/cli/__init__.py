"""`auricle …`: everything a person does from a terminal. Each command is loaded when it is called, so that help is instant."""

from __future__ import annotations

from importlib import import_module, metadata

import click

from auricle.errors import AuricleError

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("up:up", "Run Auricle on this machine."),
    "down": ("down:down", "Stop the Auricle that runs here."),
    "status": ("status:status", "Show what runs, and what it needs."),
    "doctor": ("doctor:doctor", "Check this machine, and say what to do."),
    "demo": ("demo:demo", "Put the shipped meeting through the whole pipeline."),
    "transcribe": ("transcribe:transcribe", "Transcribe files, here or on a server."),
    "runs": ("runs:runs", "List, show, watch, cancel and retry runs."),
    "events": ("events:events", "Watch what happens, live."),
    "dead-letters": ("dead_letters:dead_letters", "List, show and replay events that could not be worked on."),
    "functions": ("functions:functions", "List the functions."),
    "models": ("models:models", "List, pull and verify speech models."),
    "tokens": ("tokens:tokens", "List, make and revoke API tokens."),
    "keys": ("keys:keys", "Make, rotate and list the keys that sign-ins are signed with."),
    "admin": ("admin:admin", "Make, inspect and help accounts."),
    "audit": ("audit:audit", "List, export and verify the audit trail."),
    "tenants": ("tenants:tenants", "List, describe, suspend and delete tenants of a cluster; rotate their secrets."),
    "manifests": ("manifests:manifests", "Render, check and compare Kubernetes manifests."),
    "migrate": ("migrate:migrate", "Bring the database to the newest schema."),
    "bench": ("bench:bench", "Measure this machine."),
}
"""Command → where it is, and the line that help shows."""


class Commands(click.Group):
    """A group that knows its commands' names and loads none of them before it must."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of a person's day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"auricle.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `auricle --help`."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error of ours is its sentence, not a traceback."""
        try:
            return super().invoke(ctx)
        except AuricleError as error:
            raise click.ClickException(str(error)) from error


def _version(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"auricle {metadata.version('auricle')}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def main() -> None:
    """Auricle: a self-hosted vault for recordings and documents."""
