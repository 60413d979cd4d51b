"""The house rules that declarations must keep."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from auricle.access.permissions import RULES
from auricle.contract.choices import Image, Permission
from auricle.contract.event import EXTENSION_NAME, TYPE_NAME, Fact
from auricle.contract.function import MIN_TIMER_MINUTES, Route, registry
from auricle.deploy import documents
from auricle.deploy.catalogue import catalogue, load
from auricle.runtime import rooms, things

load()
ROOT = Path(__file__).parents[2]
SOURCES = [*(ROOT / "functions").rglob("*.py"), *(ROOT / "gpu-pool").rglob("*.py")]


def facts() -> list[type[Fact]]:
    """Every event type there is."""
    found: list[type[Fact]] = []
    waiting = list(Fact.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.startswith("auricle."):
            found.append(kind)
    return sorted(found, key=lambda k: k.TYPE)


def test_the_table_of_rooms_is_what_was_declared() -> None:
    assert set(rooms.ROUTES) == {r.function for r in registry.routes}
    assert {n: (s.handler.__module__, s.image) for n, s in registry.stages.items()} == rooms.STAGES
    declared = {(r.function, r.handler.__module__) for r in registry.routes}
    assert {(name, module) for name, modules in rooms.ROUTES.items() for module in modules} == declared
    assert {t.handler.__module__ for t in registry.timers.values()} == set(rooms.TIMERS)


@pytest.mark.parametrize("kind", facts(), ids=lambda k: k.TYPE)
def test_event_types_are_named_by_the_rules(kind: type[Fact]) -> None:
    assert TYPE_NAME.match(kind.TYPE)
    assert kind.TYPE.split(".")[1] == kind.__module__.split(".")[1]
    assert all(EXTENSION_NAME.match(name) for name in (*kind.ATTRIBUTES, "concerns"))
    assert set(kind.ATTRIBUTES) <= set(kind.__struct_fields__)


def test_event_types_are_unique() -> None:
    types = [kind.TYPE for kind in facts()]
    assert len(types) == len(set(types))


def test_no_speech_function_gets_a_secret() -> None:
    speech = [entry for entry in catalogue() if entry.image is Image.SPEECH]
    assert {entry.name for entry in speech} == {"transcribe", "diarize", "cluster"}
    assert all(entry.secrets == () for entry in speech)


def test_functions_get_only_the_secrets_of_the_ports_they_name() -> None:
    secrets = {entry.name: set(entry.secrets) for entry in catalogue()}
    assert "bucket_token" in secrets["bucket_events"]
    assert not any("bucket_token" in found for name, found in secrets.items() if name != "bucket_events")
    assert "s3_secret_access_key" not in secrets["access"] | secrets["progress"]


def test_no_timer_keeps_a_pod_alive() -> None:
    assert all(timer.minutes >= MIN_TIMER_MINUTES for timer in registry.timers.values())


def test_only_named_routes_are_public() -> None:
    public = {(r.method, r.path) for r in registry.routes if r.permission is Permission.PUBLIC}
    assert public == {
        ("GET", "/"),
        ("GET", "/.well-known/jwks.json"),
        ("GET", "/api/banner"),
        ("GET", "/health"),
        ("POST", "/api/bucket-events"),
        ("POST", "/api/invitations/accept"),
        ("POST", "/api/me/email/confirm"),
        ("POST", "/api/password-reset"),
        ("POST", "/api/password-reset/complete"),
        ("POST", "/api/registration"),
        ("POST", "/api/registration/confirm"),
        ("POST", "/api/session"),
        ("POST", "/api/session/passkey"),
        ("POST", "/api/session/passkey/options"),
        ("POST", "/api/session/refresh"),
        ("POST", "/api/setup"),
        ("GET", "/api/sign-in"),
        ("GET", "/api/sign-in/{provider}"),
        ("GET", "/api/sign-in/{provider}/callback"),
        ("POST", "/api/session/certificate"),
        ("POST", "/api/session/directory/{directory}"),
        ("POST", "/api/session/header"),
        ("POST", "/api/session/owed"),
        ("POST", "/api/sign-in/{provider}/back-channel-logout"),
    }


def test_every_path_parameter_is_a_thing_or_it_is_said_why_not() -> None:
    named = {name for route in registry.routes for name in route.path_parameters}
    assert named == set(things.THINGS) | set(things.OTHERS)
    assert not set(things.THINGS) & set(things.OTHERS)
    assert set(things.SUBJECTS) == set(things.THINGS)
    for parameter in things.THINGS:
        assert {"id", "owner", "file_id"} <= set(things.relation(parameter).c.keys())


@pytest.mark.parametrize("route", registry.routes, ids=lambda r: f"{r.method} {r.path}")
def test_a_permission_on_things_names_one_or_is_for_a_list_or_something_new(route: Route) -> None:
    thing = things.thing_of(route)
    if RULES[route.permission.name].grant is not None and thing is None:
        assert route.path_parameters == ()
        assert route.method in ("GET", "POST")


def test_every_route_of_identity_has_a_limit_that_somebody_chose() -> None:
    assert [f"{r.method} {r.path}" for r in registry.routes if r.function == "identity" and r.guarded is None] == []


def test_documents_are_in_step_with_the_code() -> None:
    assert documents.main(check=True) == 0


def test_every_function_can_be_heard_or_reached() -> None:
    for entry in catalogue():
        assert entry.paths or entry.filter is not None
        assert entry.summary.endswith(".")


FORBIDDEN_MODULES = {"utils", "helpers", "common", "misc", "base", "core"}


def test_no_drawers() -> None:
    named = {part for path in SOURCES for part in (*path.relative_to(ROOT).parts[:-1], path.stem)}
    assert not named & FORBIDDEN_MODULES


def test_no_managers_and_no_helpers() -> None:
    wrong = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and re.search(r"(Manager|Helper|Util)s?$", node.name):
                wrong.append(f"{path.name}: {node.name}")
    assert wrong == []


def test_the_environment_is_read_in_one_module() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    allowed = {"functions/auricle/runtime/settings.py"} | ENVIRONMENT_WRITERS
    assert readers <= allowed, readers - allowed


ENVIRONMENT_WRITERS = {
    "functions/auricle/adapters/speech/pyannote.py",  # switches pyannote's telemetry off before the import
    "gpu-pool/auricle_gpu/models.py",
    "functions/auricle/runtime/local/broker/__main__.py",  # hands its environment on to the workers
}


def test_the_framework_event_signature_is_not_used() -> None:
    # It answers 200 with text, which brokers take for a failure and repeat.
    users = [path for path in SOURCES if re.search(r"functions_framework\.cloud_event", path.read_text())]
    assert users == []


ONLY_IN: dict[str, tuple[str, ...]] = {
    "flask": ("runtime/",),
    "cloudevents": ("runtime/cloudevent.py",),
    "functions_framework": ("runtime/local/", "main.py"),
    "sqlalchemy": (
        "runtime/",
        "schema/",
        "/store.py",
        "/relations.py",
        "runs/tables.py",
        "files/listing.py",
        "adapters/ephemeral/postgres.py",
        "cli/checks.py",
        "cli/migrate.py",
        "cli/demo.py",
    ),
    "torch": ("adapters/speech/pyannote.py", "auricle_gpu/"),
    "boto3": (),
    "botocore": ("adapters/blobs/", "deploy/"),  # jobs set the bucket up with botocore's own client
    "av": ("adapters/media/", "speech/audio.py", "cli/"),
}


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_libraries_stay_where_they_belong(library: str) -> None:
    wrong = []
    for path in SOURCES:
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names = [node.module]
            if any(n.split(".")[0] == library for n in names) and not any(place in name for place in ONLY_IN[library]):
                wrong.append(name)
    assert wrong == []
