"""`auricle tenants …` and `kubectl auricle …`: what an administrator of tenants asks and does, by their kubeconfig."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
import httpx2
import msgspec
from lightkube import ApiError, Client, KubeConfig
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.types import PatchType
from rich.console import Console
from rich.table import Table

from auricle_operator.api import managedsecret, tenant
from auricle_operator.api.conditions import stamp
from auricle_operator.api.managedsecret import ManagedSecretStatus, Purpose
from auricle_operator.api.quantities import amount
from auricle_operator.api.rules import GROUP, VERSION
from auricle_operator.api.tenant import Deletion, TenantSpec, TenantStatus

TenantResource = create_global_resource(GROUP, VERSION, tenant.KIND, tenant.PLURAL)
SecretResource = create_namespaced_resource(GROUP, VERSION, managedsecret.KIND, managedsecret.PLURAL)
CONFIRM = f"{GROUP}/confirm-deletion"
"""Annotation that lets a Tenant with deletionPolicy `delete` go (manifests/base/operator/admission.yaml)."""
PATIENCE = 15.0


class Seen(msgspec.Struct, frozen=True):
    """A Tenant, decoded."""

    name: str
    spec: TenantSpec
    status: TenantStatus
    created: datetime | None


@click.group()
@click.option("--context", default=None, help="Of your kubeconfig.")
@click.pass_context
def main(ctx: click.Context, context: str | None) -> None:
    """Tenants of a cluster: list, describe, suspend, rotate secrets, see what they take."""
    ctx.obj = context


@main.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_tenants(context: str | None, as_json: bool) -> None:
    """All tenants, and how they are."""
    with _cluster(context) as client:
        found = [_seen(item) for item in client.list(TenantResource)]
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(one) for one in found], indent=2, default=str))
        return
    if not found:
        click.echo("There are no tenants. operator/README.md has one to apply.")
        return
    table = _table("TENANT", "PHASE", "READY", "RELEASE", "PLAN", "URL", "WHY")
    for one in found:
        ready = _ready(one)
        table.add_row(
            one.name,
            _word(one.status.phase),
            ready[0],
            one.status.versions.release or "-",
            one.spec.plan,
            one.status.url or "-",
            ready[1],
        )
    Console().print(table)


@main.command()
@click.argument("name")
@click.pass_obj
def describe(context: str | None, name: str) -> None:
    """One tenant: conditions, versions, secrets, usage."""
    with _cluster(context) as client:
        one = _seen(client.get(TenantResource, name))
        secrets = list(client.list(SecretResource, namespace=one.status.namespace)) if one.status.namespace else []
    console = Console()
    console.print(f"[bold]{one.name}[/bold]  {one.spec.display_name}  {_word(one.status.phase)}  {one.status.url or ''}")
    console.print(f"namespace {one.status.namespace or '-'}, plan {one.spec.plan}, deletion policy {one.spec.deletion_policy}")
    conditions = _table("CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE")
    for condition in one.status.conditions:
        conditions.add_row(
            condition.type, condition.status, condition.last_transition_time, condition.reason, condition.message
        )
    console.print(conditions)
    keys = _table("SECRET", "STATE", "VERSION", "ROTATED", "NEXT", "OLD ONE ENDS")
    for item in secrets:
        status = msgspec.convert(item.status or {}, ManagedSecretStatus)
        keys.add_row(
            str(getattr(item.metadata, "name", "-")),
            _word(status.state),
            str(status.version or "-"),
            status.rotated_at or "-",
            status.next_rotation or "-",
            status.revokes_at or "-",
        )
    console.print(keys)
    console.print(_usage_table([one]))


@main.command()
@click.argument("name")
@click.pass_obj
def suspend(context: str | None, name: str) -> None:
    """Put NAME to sleep: requests are refused, nothing is lost."""
    _patch(context, name, {"spec": {"suspended": True}})
    click.echo(f"{name} is being suspended. Back: auricle tenants resume {name}")


@main.command()
@click.argument("name")
@click.pass_obj
def resume(context: str | None, name: str) -> None:
    """Wake NAME up again."""
    _patch(context, name, {"spec": {"suspended": False}})
    click.echo(f"{name} is being woken up.")


@main.command()
@click.argument("name")
@click.argument("secret", type=click.Choice([purpose.value for purpose in Purpose]))
@click.pass_obj
def rotate(context: str | None, name: str, secret: str) -> None:
    """Exchange one of NAME's secrets now."""
    asked = {"metadata": {"annotations": {managedsecret.ROTATE: stamp(datetime.now(UTC))}}}
    with _cluster(context) as client:
        namespace = _seen(client.get(TenantResource, name)).status.namespace
        client.patch(SecretResource, secret, asked, namespace=namespace, patch_type=PatchType.MERGE)
    click.echo(f"Asked. How far it is: kubectl -n {namespace} get managedsecret {secret}")


@main.command()
@click.argument("names", nargs=-1)
@click.pass_obj
def usage(context: str | None, names: tuple[str, ...]) -> None:
    """What NAMES (default: all) take, and of how much."""
    with _cluster(context) as client:
        found = [_seen(item) for item in client.list(TenantResource)]
    Console().print(_usage_table([one for one in found if not names or one.name in names]))


@main.command("setup-code")
@click.argument("name")
@click.pass_obj
def setup_code(context: str | None, name: str) -> None:
    """The code that makes the first owner of NAME (POST /api/setup); worth nothing once there is one."""
    from lightkube.resources.core_v1 import Secret

    with _cluster(context) as client:
        namespace = _seen(client.get(TenantResource, name)).status.namespace
        status = msgspec.convert(client.get(SecretResource, "setup", namespace=namespace).status or {}, ManagedSecretStatus)
        secret = client.get(Secret, status.current, namespace=namespace)
    click.echo(base64.b64decode((secret.data or {})["setup-code"]).decode())


@main.command()
@click.argument("name")
@click.option("--confirm", default="", help="The name once more, where the data is deleted too.")
@click.pass_obj
def delete(context: str | None, name: str, confirm: str) -> None:
    """Take NAME away, with or without its data, as its deletion policy says."""
    with _cluster(context) as client:
        one = _seen(client.get(TenantResource, name))
        if one.spec.deletion_policy is Deletion.DELETE:
            if confirm != name:
                raise click.ClickException(f"All recordings of {name} would be deleted. If that is meant: --confirm {name}")
            client.patch(TenantResource, name, {"metadata": {"annotations": {CONFIRM: name}}}, patch_type=PatchType.MERGE)
        client.delete(TenantResource, name)
    kept = {Deletion.RETAIN: "Its database and bucket stay.", Deletion.SNAPSHOT: "A dump of its database stays in its bucket."}
    click.echo(f"{name} is being deleted. {kept.get(one.spec.deletion_policy, 'Nothing of it stays.')}")


@contextmanager
def _cluster(context: str | None) -> Iterator[Client]:
    """The user's cluster; what it refuses is one sentence."""
    try:
        config = KubeConfig.from_env()
        chosen = config.get(context_name=context) if context else config.get()
        if chosen is None:
            raise click.ClickException(f"Your kubeconfig has no context {context}: kubectl config get-contexts")
        with Client(config=chosen, timeout=httpx2.Timeout(PATIENCE)) as client:
            yield client
    except ApiError as error:
        raise click.ClickException(f"The cluster refuses: {error.status.message}") from None
    except ConfigError as error:
        raise click.ClickException(f"There is no kubeconfig that works: {error}") from None
    except httpx2.TransportError as error:
        raise click.ClickException(f"The cluster does not answer: {error}") from None


def _patch(context: str | None, name: str, patch: dict[str, Any]) -> None:
    with _cluster(context) as client:
        client.patch(TenantResource, name, patch, patch_type=PatchType.MERGE)


def _seen(item: Any) -> Seen:
    return Seen(
        name=item.metadata.name,
        spec=msgspec.convert(item.spec or {}, TenantSpec),
        status=msgspec.convert(item.status or {}, TenantStatus),
        created=item.metadata.creationTimestamp,
    )


def _ready(one: Seen) -> tuple[str, str]:
    for condition in one.status.conditions:
        if condition.type == tenant.READY:
            return condition.status, condition.message
    return "-", "the operator has not looked at it yet"


def _usage_table(found: Iterable[Seen]) -> Table:
    table = _table("TENANT", "STORAGE", "OF", "DATABASE", "MINUTES THIS MONTH", "OF", "PODS", "MEASURED")
    for one in found:
        used, quotas = one.status.usage, one.spec.quotas
        table.add_row(
            one.name,
            _bytes(used.storage_bytes),
            _bytes(amount(quotas.storage)) if quotas.storage else "no limit",
            _bytes(used.database_bytes),
            "-" if used.minutes_this_month is None else str(used.minutes_this_month),
            "no limit" if quotas.minutes_per_month is None else str(quotas.minutes_per_month),
            "-" if used.pods is None else str(used.pods),
            used.measured_at or "-",
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _word(value: Any) -> str:
    return str(value.value) if value is not None else "-"


def _bytes(count: int | None) -> str:
    if count is None:
        return "-"
    size, unit = float(count), 0
    while size >= 1024 and unit < 5:
        size, unit = size / 1024, unit + 1
    return f"{size:.4g} {('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')[unit]}"
