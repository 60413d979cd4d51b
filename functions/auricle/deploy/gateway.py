"""From the catalogue to what nginx reads: which path is whose, and which Knative Service that function is.

The two are apart because only the second differs between overlays: functions of their own, all routes in one Service, or (one
gateway for many tenants) as the plan of the tenant that was asked for has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from auricle.deploy.catalogue import FunctionEntry
from auricle.deploy.render import units
from auricle.runtime import pathtable

HEAD = "# Generated from the code by `auricle manifests render`: change the declaration, not this file.\n"
PATHS = "paths.conf"
SERVICES = "services.conf"
APART, GROUPED = "apart", "grouped"
"""How a tenant's functions stand, as nginx calls it: $auricle_layout."""


def gateway_files(entries: Iterable[FunctionEntry]) -> dict[str, str]:
    """Every generated file of the gateway, by its path beneath manifests."""
    routes = [entry for entry in entries if entry.kind == "routes"]
    apart, grouped = ({e.name: u.name for u in units(routes, grouped=g) for e in u.serves} for g in (False, True))
    either = {f'"{layout}:{f}"': s for layout, table in ((APART, apart), (GROUPED, grouped)) for f, s in table.items()}
    return {
        f"base/gateway/{PATHS}": path_table(routes),
        f"base/gateway/{SERVICES}": service_table(apart),
        f"base/gateway-grouped/{SERVICES}": service_table(grouped),
        f"components/gateway-tenants/{SERVICES}": service_table(either, asked="$auricle_layout:$auricle_function"),
    }


def path_table(entries: Iterable[FunctionEntry]) -> str:
    """nginx's map from a request's path to the function that serves it, in the order in which nginx shall try.

    A path ends with or without a slash, as it does for the functions themselves; an unknown one has no function ("").
    """
    routes = {path: entry.name for entry in entries for path in entry.paths}
    lines = [f'    "{_pattern(row)}" {row.function};\n' for row in pathtable.rows(routes)]
    return f'{HEAD}map $uri $auricle_function {{\n    default "";\n{"".join(lines)}}}\n'


def service_table(services: Mapping[str, str], asked: str = "$auricle_function") -> str:
    """nginx's map from a function (or what else is `asked`) to the Knative Service in which it runs."""
    lines = [f"    {function} {service};\n" for function, service in sorted(services.items())]
    return f'{HEAD}map {asked} $auricle_service {{\n    default "";\n{"".join(lines)}}}\n'


def _pattern(row: pathtable.Row) -> str:
    """`api/files/{file_id}` as a regular expression. The end is \\z because `$` would also allow a line break before it."""
    if row.parts == ("",):
        return r"~^/\z"
    words = "/".join("[^/]+" if part is None else re.escape(part).replace(r"\-", "-") for part in row.parts)
    return rf"~^/{words}/?\z"
