"""What the renderer promises: complete deliveries, only the own secrets, one Service per function or per image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from auricle.contract.choices import Permission
from auricle.contract.function import registry
from auricle.deploy import generated
from auricle.deploy.catalogue import FunctionEntry, catalogue
from auricle.deploy.render import Manifest, cron, duration, render, slug, units
from auricle.deploy.secretobjects import LAPTOP_ONLY, SECRET_OBJECTS


@pytest.fixture(scope="module")
def entries() -> list[FunctionEntry]:
    return catalogue()


def of_kind(rendered: dict[str, list[dict[str, Any]]], kind: str) -> Iterator[dict[str, Any]]:
    return (o for objects in rendered.values() for o in objects if o["kind"] == kind)


def container(service: dict[str, Any]) -> dict[str, Any]:
    (found,) = service["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_every_function_is_a_service_with_an_account_of_its_own(entries: list[FunctionEntry]) -> None:
    rendered = render(units(entries))
    services = {s["metadata"]["name"]: s for s in of_kind(rendered, "Service")}
    assert set(services) == {e.name.replace("_", "-") for e in entries}
    accounts = {a["metadata"]["name"] for a in of_kind(rendered, "ServiceAccount")}
    used = {s["spec"]["template"]["spec"]["serviceAccountName"] for s in services.values()}
    assert accounts == used == set(services)


def test_a_service_gets_exactly_the_secrets_that_its_signature_names(entries: list[FunctionEntry]) -> None:
    services = {s["metadata"]["name"]: s for s in of_kind(render(units(entries)), "Service")}
    for entry in entries:
        service = services[entry.name.replace("_", "-")]
        given = {e["name"].lower() for e in container(service)["env"] if "valueFrom" in e}
        assert given | set(files_of(service)) == set(entry.secrets) - LAPTOP_ONLY, entry.name
        assert given <= set(SECRET_OBJECTS)


def files_of(service: Manifest) -> dict[str, str]:
    """Setting → the Secret of which its file is made; every mounted Secret has such a setting."""
    volumes = {v["name"]: v["secret"] for v in service["spec"]["template"]["spec"]["volumes"] if "secret" in v}
    settings = {e["value"]: e["name"].lower() for e in container(service)["env"] if "value" in e}
    found = {}
    for mount in container(service)["volumeMounts"]:
        if mount["name"] in volumes:
            secret = volumes.pop(mount["name"])
            (item,) = secret["items"]
            assert mount["readOnly"]
            found[settings[f"{mount['mountPath']}/{item['path']}"]] = secret["secretName"]
    assert not volumes
    return found


@pytest.mark.parametrize("grouped", [False, True])
def test_the_signing_key_is_mounted_in_identity_alone_and_who_only_verifies_has_public_keys(
    entries: list[FunctionEntry], grouped: bool
) -> None:
    services = list(of_kind(render(units(entries, grouped=grouped)), "Service"))
    holders: dict[str, set[str]] = {}
    for service in services:
        for secret in files_of(service).values():
            holders.setdefault(secret, set()).add(service["metadata"]["name"])
    assert holders["auricle-signing"] == holders["auricle-setup"] == {"identity"}
    letting_in = {u.name for u in units(entries, grouped=grouped) if "jwks_file" in u.secrets}
    assert holders["auricle-public-keys"] == letting_in >= {"identity", "api" if grouped else "files"}
    (identity,) = [s for s in services if s["metadata"]["name"] == "identity"]
    assert container(identity)["env"][0]["value"] == "identity"


def test_whoever_lets_people_in_can_tell_who_they_are_and_nobody_else(entries: list[FunctionEntry]) -> None:
    needed = {"ephemeral_key", "jwks_file"}
    letting_in = {r.function for r in registry.routes if r.permission is not Permission.PUBLIC}
    assert {e.name for e in entries if needed <= set(e.secrets)} == letting_in
    sweeping = {"timers"}  # ends what the store of limits remembers, and lets nobody in
    assert {e.name for e in entries if needed & set(e.secrets)} == letting_in | sweeping
    guarded = {r.function for r in registry.routes if r.guarded is not None}
    assert guarded <= letting_in, "what is counted needs the store of limits"


def test_mounted_keys_are_read_by_nobody_s_user_and_may_come_later(entries: list[FunctionEntry]) -> None:
    for service in of_kind(render(units(entries)), "Service"):
        for volume in service["spec"]["template"]["spec"]["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["optional"] is True
                assert volume["secret"]["defaultMode"] & 0o777 == 0o444
        for mount in container(service)["volumeMounts"]:
            assert "subPath" not in mount, "a single file would not be renewed when keys are rotated"


def test_speech_functions_get_no_secret(entries: list[FunctionEntry]) -> None:
    speech = [s for s in of_kind(render(units(entries)), "Service") if s["metadata"]["labels"]["auricle.dev/image"] == "speech"]
    assert speech
    assert not any("valueFrom" in e for s in speech for e in container(s)["env"])


@pytest.mark.parametrize("grouped", [False, True])
def test_every_trigger_repeats_a_complete_delivery(entries: list[FunctionEntry], grouped: bool) -> None:
    rendered = render(units(entries, grouped=grouped))
    names = {s["metadata"]["name"] for s in of_kind(rendered, "Service")}
    triggers = list(of_kind(rendered, "Trigger"))
    assert {t["metadata"]["name"] for t in triggers} == {
        e.name.replace("_", "-") for e in entries if e.filter and e.kind == "stage"
    }
    for trigger in triggers:
        spec = trigger["spec"]
        assert set(spec["delivery"]) == {"retry", "backoffPolicy", "backoffDelay", "timeout", "deadLetterSink"}
        assert spec["delivery"]["deadLetterSink"]["ref"]["name"] in names
        assert spec["subscriber"]["ref"]["name"] in names
        assert "filters" not in spec  # RabbitMQ ignores it


def test_a_trigger_waits_longer_than_its_service_may_take(entries: list[FunctionEntry]) -> None:
    rendered = render(units(entries))
    limits = {s["metadata"]["name"]: s["spec"]["template"]["spec"]["timeoutSeconds"] for s in of_kind(rendered, "Service")}
    for trigger in of_kind(rendered, "Trigger"):
        seconds = float(trigger["spec"]["delivery"]["timeout"].removeprefix("PT").removesuffix("S"))
        assert seconds > limits[trigger["spec"]["subscriber"]["ref"]["name"]]


def test_a_schedule_fires_every_timer_that_shares_it(entries: list[FunctionEntry]) -> None:
    pings = list(of_kind(render(units(entries)), "PingSource"))
    (timers,) = [e.timers for e in entries if e.timers]
    fired = [name for ping in pings for name in json.loads(ping["spec"]["data"])["timers"]]
    assert sorted(fired) == sorted(t.name for t in timers)
    assert len({p["spec"]["schedule"] for p in pings}) == len(pings) == len({t.minutes for t in timers})


def test_grouped_there_is_one_service_per_image(entries: list[FunctionEntry]) -> None:
    services = list(of_kind(render(units(entries, grouped=True)), "Service"))
    assert [container(s)["env"][0]["value"] for s in services] == ["identity", "*api", "settings,users", "*media", "*speech"]


def test_grouped_the_identity_image_s_other_functions_share_a_service_without_the_signing_key(
    entries: list[FunctionEntry],
) -> None:
    rendered = render(units(entries, grouped=True))
    (people,) = [o for o in rendered["people"] if o["kind"] == "Service"]
    assert container(people)["env"][0]["value"] == "settings,users"
    assert container(people)["image"] == "auricle-identity"
    assert "auricle-signing" not in files_of(people).values()


def test_a_pinned_model_is_a_service_whose_trigger_hears_that_model_only(entries: list[FunctionEntry]) -> None:
    rendered = render(units(entries, models={"transcribe": ["large-v3", "Small.EN"]}))
    assert "transcribe" not in rendered
    (trigger,) = [o for o in rendered["transcribe-small-en"] if o["kind"] == "Trigger"]
    assert trigger["spec"]["filter"]["attributes"]["model"] == "Small.EN"
    (service,) = [o for o in rendered["transcribe-small-en"] if o["kind"] == "Service"]
    assert {"name": "PINNED_MODEL", "value": "Small.EN"} in container(service)["env"]


def test_threads_leave_room_for_probes(entries: list[FunctionEntry]) -> None:
    for service in of_kind(render(units(entries)), "Service"):
        threads = next(int(e["value"]) for e in container(service)["env"] if e["name"] == "THREADS")
        assert threads >= service["spec"]["template"]["spec"]["containerConcurrency"] + 4


@pytest.mark.parametrize(
    ("minutes", "schedule"),
    [(15, "*/15 * * * *"), (30, "*/30 * * * *"), (60, "7 * * * *"), (360, "7 */6 * * *"), (1440, "23 3 * * *")],
)
def test_minutes_become_cron(minutes: int, schedule: str) -> None:
    assert cron(minutes) == schedule


@pytest.mark.parametrize("minutes", [7, 45, 100, 1000])
def test_what_cron_cannot_say_is_refused(minutes: int) -> None:
    with pytest.raises(ValueError, match="no cron schedule"):
        cron(minutes)


def test_durations_are_iso_8601() -> None:
    assert [duration(s) for s in (0.5, 2, 1800)] == ["PT0.5S", "PT2S", "PT1800S"]


def test_a_model_s_name_becomes_part_of_an_object_s_name() -> None:
    assert slug("Systran/faster-whisper_Large.v3") == "systran-faster-whisper-large-v3"


def test_what_is_committed_is_what_the_code_declares() -> None:
    assert {p.name for p, text in generated.files().items() if not p.exists() or p.read_text() != text} == set()
    assert generated.superfluous() == []
