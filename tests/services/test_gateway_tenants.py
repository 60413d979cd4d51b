"""One real nginx for many tenants, with what the operator writes for it: each host is its own vault, and nothing gets mixed up."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from auricle.runtime.clientheaders import ClientHeaders
from auricle_operator import gateway as operator
from auricle_operator.cluster import Manifest
from auricle_operator.settings import Settings
from builders import minio_server
from builders.minio_server import MinioServer
from builders.nginx_gateway import TENANTS, Answer, Nginx, address, certificate, nginx, places
from builders.scripted_http import Heard, Line, Script, playing

pytestmark = pytest.mark.services
KEYS = {"acme": "11" * 32, "beta": "22" * 32, "idle": "33" * 32}
RELAY = "the-store-s-own-token"
DOOR = {"X-Request-Id": "0af7651916cd43dd8448eb211c80319c", "Content-Type": "application/json"}
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


def tenant(name: str, **spec: Any) -> Manifest:
    """A Tenant with a domain of its own."""
    metadata = {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "spec": {"release": "r1", "domains": [f"{name}.example"], **spec}}


@dataclass
class House:
    """A gateway with what kubelet would have mounted."""

    nginx: Nginx
    functions: Script
    store: Script

    def mount(self, folder: str, made: Manifest) -> None:
        """Write a ConfigMap or a Secret as files, as kubelet does: none is ever half there."""
        where = self.nginx.folder / folder
        for name, value in made["data"].items():
            text = base64.b64decode(value).decode() if made["kind"] == "Secret" else value
            (where / f".{name}").write_text(text)
            (where / f".{name}").rename(where / name)
        for path in where.iterdir():
            if path.name not in made["data"]:
                path.unlink()

    def serve(self, *tenants: Manifest, **tokens: str) -> None:
        """From now on these are the tenants; `tokens`: BUCKET_TOKENs by tenant."""
        self.mount("hosts", operator.hosts(tenants, Settings(), {"small"})[0])
        values = {f"gateway-key.auricle-{name}": key for name, key in KEYS.items()}
        layouts = {t["metadata"]["name"]: " grouped" if t["spec"].get("plan") == "small" else "" for t in tenants}
        values |= {f"bucket-token.auricle-{name}": f"auricle-{name}{layouts[name]} {t}" for name, t in tokens.items()}
        self.mount("keys", operator.keys(values, {}, Settings()))

    def ask(self, host: str, path: str, method: str = "GET", **headers: str) -> Answer:
        """One request under a host's name."""
        return self.nginx.ask(path, method, Host=host, **headers)

    def tell(self, text: bytes, authorization: str = f"Bearer {RELAY}") -> Answer:
        """What the object store does when an object arrives."""
        return self.nginx.tell(text, Authorization=authorization)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One gateway, before what stands for the ingress and for the object store."""
    with playing(Line(200, b"{}", DOOR)) as functions, playing(Line(200, b"bytes", {"ETag": '"e"'})) as store:
        place = places(address(functions.url), address(store.url))
        with nginx(tmp_path_factory.mktemp("gateway"), place, over=TENANTS) as made:
            (made.folder / "relay" / "BUCKET_TOKEN").write_text(RELAY)
            yield House(made, functions, store)


@pytest.fixture
def house(running: House) -> House:
    """Two tenants at work and one that is suspended."""
    running.functions.lines[:] = [Line(200, b"{}", DOOR)]
    running.functions.heard.clear()
    running.store.heard.clear()
    running.serve(tenant("acme"), tenant("beta"), tenant("idle", suspended=True), acme="token-a", beta="token-b")
    return running


def problem(answer: Answer, status: int, kind: str) -> str:
    """The sentence of a refusal."""
    assert (answer.status, answer.header("Content-Type")) == (status, "application/problem+json")
    found = json.loads(answer.body)
    assert found["type"] == f"urn:auricle:problem:{kind}"
    return str(found["detail"])


def told(heard: Heard) -> dict[str, str]:
    """A request's headers as a function's door has them."""
    return {name.title(): value for name, value in heard.headers.items()}


# Whose vault


def test_two_tenants_are_served_side_by_side(house: House) -> None:
    for name in ("acme", "beta"):
        assert house.ask(f"{name}.example", "/api/files").status == 200
    assert [heard.headers["host"] for heard in house.functions.heard] == [
        "files.auricle-acme.svc.cluster.local",
        "files.auricle-beta.svc.cluster.local",
    ]


def test_a_tenant_whose_functions_share_services_is_served_beside_one_whose_do_not(house: House) -> None:
    house.serve(tenant("acme", plan="small"), tenant("beta"), acme="token-a", beta="token-b")
    for name in ("acme", "beta"):
        for path in ("/api/files", "/api/session", "/api/users"):
            assert house.ask(f"{name}.example", path).status == 200
        assert house.tell(notice(f"auricle-{name}")).status == 204
    assert house.ask("acme.example", "/auricle-acme/me/a").body == b"bytes"
    services = [heard.headers["host"].split(".")[:2] for heard in house.functions.heard]
    assert services[:4] == [[name, "auricle-acme"] for name in ("api", "identity", "people", "api")]
    assert services[4:] == [[name, "auricle-beta"] for name in ("files", "identity", "users", "bucket-events")]
    assert [delivered(heard)[3] for heard in house.functions.heard[3::4]] == ["Bearer token-a", "Bearer token-b"]


@pytest.mark.parametrize("name", ["acme", "beta"])
def test_each_tenant_s_functions_are_told_who_asks_by_their_own_key_and_no_other(house: House, name: str) -> None:
    house.ask(f"{name}.example", "/api/files")
    (heard,) = house.functions.heard
    believed = {other: ClientHeaders(key).client(told(heard), "GET", b"/api/files") for other, key in KEYS.items()}
    assert [other for other, client in believed.items() if client] == [name]
    client = believed[name]
    assert client is not None
    assert client.host == f"{name}.example"


def test_a_host_may_be_written_in_capitals_and_with_a_port(house: House) -> None:
    assert house.ask("ACME.Example:8443", "/api/files").status == 200
    assert house.functions.heard[0].headers["host"] == "files.auricle-acme.svc.cluster.local"


@pytest.mark.parametrize(
    "host",
    ["nobody.example", "acme", "example", "127.0.0.1", "acme.example.", "..", "../keys/x", ".", "..data", "a" * 300, "*"],
)
@pytest.mark.parametrize("path", ["/api/files", "/", "/auricle-acme/a", "/nothing"])
def test_under_another_name_there_is_no_vault_and_nothing_is_woken(house: House, host: str, path: str) -> None:
    answer = house.ask(host, path, Accept=BROWSER)
    assert answer.status in (400, 404)
    if answer.status == 404:
        assert problem(answer, 404, "not-found") == "No vault under this name. Check the address."
    assert house.functions.heard + house.store.heard == []


def test_whoever_says_two_names_is_believed_neither(house: House) -> None:
    line = house.nginx.connection()
    line.request("GET", "https://acme.example/api/files", headers={"Host": "beta.example"})
    assert line.getresponse().status == 404
    line.close()
    assert house.functions.heard == []


@pytest.mark.parametrize("path", ["/api/files", "/", "/auricle-idle/me/a?X-Amz-Signature=s"])
def test_a_suspended_vault_says_so_and_nothing_is_woken(house: House, path: str) -> None:
    said = problem(house.ask("idle.example", path), 503, "suspended")
    assert said == "This vault is suspended, and nothing in it is lost. Ask those who run it."
    page = house.ask("idle.example", path, Accept=BROWSER)
    assert (page.status, page.header("Content-Type")) == (503, "text/html; charset=utf-8")
    assert b"This vault is suspended" in page.body
    assert b"refresh" not in page.body
    assert page.header("Strict-Transport-Security")
    assert house.functions.heard + house.store.heard == []


def test_an_open_vault_whose_function_wakes_is_not_called_suspended(house: House) -> None:
    house.functions.lines[:] = [Line(503, b"no healthy upstream")]
    problem(house.ask("acme.example", "/api/files"), 503, "unavailable")


def test_probes_need_no_vault(house: House) -> None:
    assert (house.nginx.ask("/healthz").body, house.nginx.ask_plainly("/healthz").body) == (b"ok\n", b"ok\n")


def test_a_changed_map_counts_at_the_next_request_of_the_same_connection(house: House) -> None:
    line = house.nginx.connection()

    def status() -> int:
        line.request("GET", "/api/files", headers={"Host": "newer.example"})
        answer = line.getresponse()
        answer.read()
        return answer.status

    before = house.nginx.process.pid
    assert status() == 404
    house.serve(tenant("newer"))
    assert status() == 200
    house.serve(tenant("newer", suspended=True))
    assert status() == 503
    house.serve()
    assert status() == 404
    line.close()
    assert (house.nginx.process.pid, house.nginx.process.poll()) == (before, None)


def test_before_the_operator_has_written_anything_nobody_has_a_vault(tmp_path: Path) -> None:
    with nginx(tmp_path / "gateway", places("127.0.0.1:9"), over=TENANTS) as own:
        for folder in ("hosts", "keys", "certificates"):
            (own.folder / folder).rmdir()
        problem(own.ask("/api/files", Host="acme.example"), 404, "not-found")
        assert own.ask("/healthz").status == 200


# Whose bucket


def test_signed_urls_reach_the_tenant_s_own_bucket_as_they_were_signed(house: House) -> None:
    path = "/auricle-acme/me/%C3%BC%20a%2Bb.wav?X-Amz-Signature=s%2F&partNumber=1"
    answer = house.ask("acme.example", path)
    assert (answer.status, answer.body) == (200, b"bytes")
    assert (house.store.heard[0].path, house.store.heard[0].headers["host"]) == (path, "acme.example")
    assert "sandbox" in answer.header("Content-Security-Policy")


@pytest.mark.parametrize(
    "path",
    [
        "/auricle-beta/me/a",
        "/auricle-acme/../auricle-beta/me/a",
        "/auricle-beta/../auricle-acme/me/a",
        "/auricle-acme%2F..%2Fauricle-beta/me/a",
        "/auricle-acme/%2e%2e/auricle-beta/me/a",
        "/%61uricle-acme/me/a",
        "/auricle-acme|/auricle-beta/a",
        "/x:/auricle-beta/a",
        "/auricle-acme",
        "/auricle-acme-2/me/a",
        "/auricle-/me/a",
        "/auricle/me/a",
        "//auricle-acme/me/a",
    ],
)
def test_no_other_bucket_is_reached_however_it_is_written(house: House, path: str) -> None:
    problem(house.ask("acme.example", f"{path}?X-Amz-Signature=s"), 404, "not-found")
    assert house.store.heard == []


# Whose certificate


def shown(house: House, name: str | None) -> str:
    """The certificate (PEM) that a handshake for `name` gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", house.nginx.https), 10) as plain,
        context.wrap_socket(plain, server_hostname=name) as talk,
    ):
        return ssl.DER_cert_to_PEM_cert(talk.getpeercert(True) or b"")


def test_a_host_s_own_certificate_is_shown_and_the_one_for_all_otherwise(house: House, tmp_path: Path) -> None:
    common = house.nginx.tls.certificate.read_text()
    assert shown(house, "acme.example") == common
    pair = certificate(tmp_path / "own", "acme.example")
    data = {"tls.crt": pair.certificate, "tls.key": pair.key}
    secret = {
        "metadata": {"name": "own"},
        "data": {key: base64.b64encode(path.read_bytes()).decode() for key, path in data.items()},
    }
    house.mount("certificates", operator.certificates([secret], Settings()))
    assert shown(house, "acme.example") == pair.certificate.read_text()
    for other in ("beta.example", None, "nobody.example"):
        assert shown(house, other) == common
    house.mount("certificates", operator.certificates([], Settings()))
    assert shown(house, "acme.example") == common


# Whose notification


def notice(*buckets: str) -> bytes:
    """What MinIO posts."""
    records = [
        {"eventName": "s3:ObjectCreated:Put", "s3": {"bucket": {"name": b}, "object": {"key": "drop/me/a%2Bb"}}}
        for b in buckets
    ]
    return json.dumps({"EventName": "s3:ObjectCreated:Put", "Records": records}).encode()


def delivered(heard: Heard) -> tuple[str, str, str, str]:
    """Method, path, function and token of a notification that was passed on."""
    return heard.method, heard.path, heard.headers["host"], heard.headers["authorization"]


def test_a_notification_reaches_the_tenant_whose_bucket_it_is_about(house: House) -> None:
    house.functions.lines[:] = [Line(204)]
    for name in ("acme", "beta"):
        assert house.tell(notice(f"auricle-{name}")).status == 204
    assert [delivered(heard) for heard in house.functions.heard] == [
        ("POST", "/api/bucket-events", "bucket-events.auricle-acme.svc.cluster.local", "Bearer token-a"),
        ("POST", "/api/bucket-events", "bucket-events.auricle-beta.svc.cluster.local", "Bearer token-b"),
    ]
    assert house.functions.heard[0].body == notice("auricle-acme")
    assert RELAY not in str(house.functions.heard)


@pytest.mark.parametrize("authorization", ["", "Bearer ", "Bearer token-a", f"Basic {RELAY}", f"Bearer {RELAY}x"])
def test_only_the_store_is_heard(house: House, authorization: str) -> None:
    assert house.tell(notice("auricle-acme"), authorization).status == 401
    assert house.functions.heard == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"{}",
        b'{"Records": []}',
        b'{"Records": [{}]}',
        b'{"Records": [{"s3": {"bucket": {"name": 7}}}]}',
        notice("auricle-idle"),
        notice("auricle-nobody"),
        notice("../hosts/acme.example"),
        notice("auricle-acme", "auricle-beta"),
    ],
)
def test_what_is_no_open_tenant_s_is_left_so_that_it_holds_up_nobody(house: House, text: bytes) -> None:
    assert house.tell(text).status == 204
    assert house.functions.heard == []


def test_while_a_function_wakes_a_notification_is_tried_again(house: House) -> None:
    house.functions.lines[:] = [Line(503), Line(204)]
    assert house.tell(notice("auricle-acme")).status == 204
    assert len(house.functions.heard) == 2
    assert house.functions.heard[0].body == house.functions.heard[1].body


def test_a_function_that_refuses_holds_up_nobody_else(house: House) -> None:
    house.functions.lines[:] = [Line(403), Line(204)]
    assert house.tell(notice("auricle-acme")).status == 204
    assert "was not taken by bucket-events of auricle-acme, which answers 403" in house.nginx.log("error")
    assert house.tell(notice("auricle-beta")).status == 204
    assert [heard.headers["authorization"] for heard in house.functions.heard] == ["Bearer token-a", "Bearer token-b"]


def test_while_nothing_can_be_reached_the_store_keeps_what_it_has_to_tell(tmp_path: Path) -> None:
    with nginx(tmp_path / "gateway", places("127.0.0.1:9"), over=TENANTS) as own:
        (own.folder / "relay" / "BUCKET_TOKEN").write_text(RELAY)
        alone = House(own, Script([]), Script([]))
        alone.serve(tenant("acme"), acme="token-a")
        assert alone.tell(notice("auricle-acme")).status == 503


def test_the_listener_of_the_store_has_nothing_else(house: House) -> None:
    for path in ("/api/files", "/", "/healthz", "/auricle-acme/a", "/deliver/api/bucket-events"):
        assert house.nginx.tell(notice("auricle-acme"), path=path, Authorization=f"Bearer {RELAY}").status == 404
    assert house.nginx.tell(b"", "GET", Authorization=f"Bearer {RELAY}").status == 405
    assert house.functions.heard == []


def test_nothing_is_relayed_for_whoever_comes_in_by_the_front_door(house: House) -> None:
    answer = house.nginx.ask(
        "/api/bucket-events", "POST", notice("auricle-beta"), Host="acme.example", Authorization=f"Bearer {RELAY}"
    )
    assert answer.status == 200
    (heard,) = house.functions.heard
    assert heard.headers["host"] == "bucket-events.auricle-acme.svc.cluster.local"
    assert heard.headers["authorization"] == f"Bearer {RELAY}"  # as it was sent: that function does not know it


def test_what_a_tenant_is_said_to_be_stands_in_no_log(house: House) -> None:
    house.ask("acme.example", "/api/files")
    logs: Mapping[str, str] = {name: house.nginx.log(name) for name in ("access", "error")}
    for secret in (*KEYS.values(), RELAY, "token-a", "token-b"):
        assert not [name for name, text in logs.items() if secret in text]


# With a real object store


@pytest.fixture
def telling(tmp_path: Path) -> Iterator[tuple[House, MinioServer]]:
    """A gateway before a real MinIO that holds a bucket per tenant and tells the gateway's relay of what arrives."""
    relay = minio_server.free_port()
    server = minio_server.start(tmp_path / "minio", hear_at=f"http://127.0.0.1:{relay}/api/bucket-events", token=RELAY)
    with playing(Line(204)) as functions:
        place = places(address(functions.url), address(server.url))
        with nginx(tmp_path / "gateway", place, over=TENANTS, relay=relay) as made:
            (made.folder / "relay" / "BUCKET_TOKEN").write_text(RELAY)
            for name in ("acme", "beta"):
                server.client().create_bucket(Bucket=f"auricle-{name}")
                events = {"QueueArn": "arn:minio:sqs::AURICLE:webhook", "Events": ["s3:ObjectCreated:*"]}
                server.client().put_bucket_notification_configuration(
                    Bucket=f"auricle-{name}", NotificationConfiguration={"QueueConfigurations": [events]}
                )
            yield House(made, functions, Script([])), server
    server.stop()


def test_a_store_s_notifications_reach_each_tenant_and_one_that_refuses_holds_up_nobody(
    telling: tuple[House, MinioServer],
) -> None:
    house, server = telling
    house.serve(tenant("acme"), tenant("beta"), acme="token-a", beta="token-b")
    house.functions.lines[:] = [Line(422), Line(204)]
    for name in ("acme", "beta"):
        server.client().put_object(Bucket=f"auricle-{name}", Key="drop/me/a", Body=b"bytes")
    end = time.monotonic() + 30
    while len(house.functions.heard) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    told_of = {
        json.loads(heard.body)["Records"][0]["s3"]["bucket"]["name"]: delivered(heard)[3] for heard in house.functions.heard
    }
    assert told_of == {"auricle-acme": "Bearer token-a", "auricle-beta": "Bearer token-b"}


def test_a_url_that_was_signed_for_a_tenant_s_host_works_there_and_nowhere_else(telling: tuple[House, MinioServer]) -> None:
    house, server = telling
    house.serve(tenant("acme"), tenant("beta"))
    server.client().put_object(Bucket="auricle-acme", Key="me/ü a+b.wav", Body=b"bytes")
    browser = replace(server, url="https://acme.example").client()
    url = browser.generate_presigned_url("get_object", Params={"Bucket": "auricle-acme", "Key": "me/ü a+b.wav"})
    path = url.removeprefix("https://acme.example")
    answer = house.ask("acme.example", path)
    assert (answer.status, answer.body) == (200, b"bytes")
    problem(house.ask("beta.example", path), 404, "not-found")
    assert house.ask("acme.example", path.replace("b.wav", "c.wav")).status == 403
