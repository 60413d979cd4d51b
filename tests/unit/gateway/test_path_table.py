"""nginx's path table and our own gateway lead every path to the same function."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.contract.choices import Image, Scale
from auricle.contract.function import registry
from auricle.deploy.catalogue import FunctionEntry, catalogue
from auricle.deploy.gateway import gateway_files, path_table
from auricle.errors import NotFound
from auricle.runtime.local.proxy import Proxy

MANIFESTS = Path(__file__).parents[3] / "manifests"
ENTRIES = [entry for entry in catalogue() if entry.kind == "routes"]
PROXY = Proxy({path: entry.name for entry in ENTRIES for path in entry.paths}, "http://127.0.0.1:1")
WORDS = sorted({word for entry in ENTRIES for path in entry.paths for word in path.strip("/").split("/")} - {""})


def entry(name: str, *paths: str) -> FunctionEntry:
    """A function with these paths."""
    return FunctionEntry(name=name, kind="routes", image=Image.API, scale=Scale.INTERACTIVE, summary="", paths=paths)


def rows(table: str) -> list[tuple[re.Pattern[str], str]]:
    """The table as nginx reads it: regular expressions in their order."""
    found = re.findall(r'^    "~(.+)" (\w+);$', table, re.MULTILINE)
    return [(re.compile(pattern.replace(r"\z", r"\Z")), function) for pattern, function in found]


NGINX = rows(path_table(ENTRIES))


def by_nginx(path: str) -> str | None:
    """The function that nginx finds."""
    return next((function for pattern, function in NGINX if pattern.search(path)), None)


def by_proxy(path: str) -> str | None:
    """The function that `auricle up --isolate` finds."""
    try:
        return PROXY.function_of(path)
    except NotFound:
        return None


def test_every_route_leads_to_its_function() -> None:
    assert len(NGINX) == len({route.path for route in registry.routes})
    for route in registry.routes:
        path = re.sub(r"{\w+}", "01890000-0000-7000-8000-000000000000", route.path)
        assert by_nginx(path) == by_proxy(path) == route.function


@given(st.lists(st.sampled_from([*WORDS, "x", "a.b", "-", "ü", "{x}", "files\n", "API"]), max_size=6), st.booleans())
def test_any_path_leads_to_the_same_function(words: list[str], slash: bool) -> None:
    path = "/" + "/".join(w if not w.startswith("{") else "hole" for w in words) + ("/" if slash and words else "")
    assert by_nginx(path) == by_proxy(path)


def test_words_come_before_holes_whatever_the_order_of_declaration() -> None:
    table = path_table([entry("a", "/api/{kind}/newest"), entry("b", "/api/files/{id}"), entry("c", "/api/files/newest")])
    assert [function for _, function in rows(table)] == ["c", "b", "a"]


def test_points_are_points_and_a_line_break_is_no_end() -> None:
    ((pattern, _),) = rows(path_table([entry("docs", "/api/openapi.json")]))
    assert pattern.search("/api/openapi.json")
    assert pattern.search("/api/openapi.json/")
    assert not pattern.search("/api/openapi_json")
    assert not pattern.search("/api/openapi.json\n")
    assert not pattern.search("/API/openapi.json")


def test_routes_of_one_image_may_share_a_service() -> None:
    files = gateway_files([entry("bucket_events", "/api/bucket-events"), entry("files", "/api/files")])
    assert "    bucket_events bucket-events;\n" in files["base/gateway/services.conf"]
    assert "    bucket_events api;\n    files api;\n" in files["base/gateway-grouped/services.conf"]
    either = files["components/gateway-tenants/services.conf"]
    assert '    "apart:files" files;\n' in either
    assert '    "grouped:files" api;\n' in either


def test_functions_without_routes_are_not_reached_from_outside() -> None:
    routes = {e.name for e in catalogue() if e.kind == "routes"}
    files = gateway_files(catalogue())
    assert {function for _, function in rows(files["base/gateway/paths.conf"])} == routes
    for folder in ("gateway", "gateway-grouped"):
        assert set(re.findall(r"^    (\w+) [\w-]+;$", files[f"base/{folder}/services.conf"], re.MULTILINE)) == routes


@pytest.mark.parametrize("name", sorted(gateway_files(ENTRIES)))
def test_what_is_committed_is_in_step_with_the_code(name: str) -> None:
    assert (MANIFESTS / name).read_text() == gateway_files(ENTRIES)[name], "run `auricle manifests render`"
