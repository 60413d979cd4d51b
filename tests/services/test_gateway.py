"""The gateway's real nginx: TLS, headers, limits, who asks, and what passes through it."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from auricle.runtime.clientheaders import PREFIX, Certificate, ClientHeaders
from auricle.runtime.limits import MAX_BODY
from builders.nginx_gateway import FILES, KEY, Answer, Nginx, address, certificate, nginx, places, read
from builders.scripted_http import Heard, Line, Script, playing

pytestmark = pytest.mark.services
FILE = "/api/files/01890000-0000-7000-8000-000000000000"
DOOR = {"X-Request-Id": "0af7651916cd43dd8448eb211c80319c", "Content-Type": "application/json"}
"""What every answer of a function has."""
SECURITY = {
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-frame-options": "SAMEORIGIN",
    "x-content-type-options": "nosniff",
    "x-xss-protection": "0",
    "referrer-policy": "strict-origin-when-cross-origin",
    "permissions-policy": "camera=(), microphone=(self), ",
    "content-security-policy": "default-src 'self'; ",
    "cross-origin-opener-policy": "same-origin",
}


@pytest.fixture(scope="module")
def functions() -> Iterator[Script]:
    """Stands where the ingress stands: answers as the test last said."""
    with playing(Line(200, b"{}", DOOR)) as script:
        yield script


@pytest.fixture(scope="module")
def store() -> Iterator[Script]:
    """Stands where the object store stands."""
    with playing(Line(200, b"bytes", {"ETag": '"e"', "Content-Type": "text/html"})) as script:
        yield script


@pytest.fixture(scope="module")
def gateway(functions: Script, store: Script, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """The gateway before both."""
    place = places(address(functions.url), address(store.url))
    with nginx(tmp_path_factory.mktemp("gateway"), place) as made:
        yield made


@pytest.fixture(autouse=True)
def _well(functions: Script, store: Script) -> None:
    """Each test begins with servers that are well."""
    functions.lines[:], functions.heard[:] = [Line(200, b"{}", DOOR)], []
    store.heard.clear()


def problem(answer: Answer, status: int, kind: str) -> dict[str, str]:
    """The problem document of a refusal."""
    assert (answer.status, answer.header("Content-Type")) == (status, "application/problem+json")
    found: dict[str, str] = json.loads(answer.body)
    assert (found["status"], found["type"]) == (status, f"urn:auricle:problem:{kind}")
    assert found["detail"].endswith(".")
    return found


def by_http_2(gateway: Nginx, path: str, *options: str) -> bytes:
    """What curl prints, which speaks HTTP/2 as browsers do."""
    command = ["curl", "--silent", "--http2", "--cacert", gateway.tls.certificate, *options, f"{gateway.url}{path}"]
    return subprocess.run(command, capture_output=True, timeout=20, check=True).stdout


# TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_modern_tls_is_spoken(gateway: Nginx, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(gateway.tls.certificate))
    context.minimum_version = context.maximum_version = version
    line = socket.create_connection(("127.0.0.1", gateway.https), 10)
    with context.wrap_socket(line, server_hostname="127.0.0.1") as talk:
        assert talk.version() == version.name.replace("_", ".")
        assert "GCM" in talk.cipher()[0] or "CHACHA20" in talk.cipher()[0]  # type: ignore[index]


def test_older_versions_and_weaker_ciphers_are_refused(gateway: Nginx) -> None:
    for words in (["-tls1_1", "-cipher", "ALL@SECLEVEL=0"], ["-tls1_2", "-cipher", "AES128-SHA:ECDHE-ECDSA-AES128-SHA"]):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.https}", *words]
        done = subprocess.run(command, input=b"", capture_output=True, timeout=20)
        assert b"New, (NONE)" in done.stdout, done.stdout.decode()


def test_plain_http_is_led_to_https_and_answers_probes(gateway: Nginx) -> None:
    answer = gateway.ask_plainly("/api/files?limit=3", "POST", Host="vault.example")
    assert (answer.status, answer.header("Location")) == (308, "https://vault.example/api/files?limit=3")
    assert answer.header("X-Frame-Options") == "SAMEORIGIN"
    assert (gateway.ask_plainly("/healthz").body, gateway.ask("/readyz").body) == (b"ok\n", b"ok\n")


def test_a_renewed_certificate_counts_at_once(tmp_path: Path) -> None:
    with nginx(tmp_path / "gateway", places("127.0.0.1:9")) as own:
        before = ssl.get_server_certificate(("127.0.0.1", own.https))
        certificate(tmp_path / "gateway" / "tls", "renewed.test")
        assert ssl.get_server_certificate(("127.0.0.1", own.https)) != before
        assert own.ask("/healthz").status == 200


# Headers


def every_kind_of_answer(gateway: Nginx, functions: Script) -> Iterator[Answer]:
    """Answers of functions, of the gateway, and of nobody."""
    for line in (
        Line(200, b"{}", DOOR),
        Line(404, b"{}", DOOR),
        Line(500, b"{}", DOOR),
        Line(503, b"no healthy upstream"),
        Line(drop=True),
        Line(
            200, b"{}", {**DOOR, **{name.title(): "of the function" for name in SECURITY if name != "content-security-policy"}}
        ),
    ):
        functions.lines[:] = [line]
        yield gateway.ask("/api/files")
    yield gateway.ask("/nothing")
    yield gateway.ask("/api/files", "POST", b"x" * (MAX_BODY + 1))
    yield gateway.ask("/api/files", Bad="x" * 40_000)
    yield gateway.ask("/api/files", "TRACE")
    yield gateway.ask("/healthz")


def test_every_answer_has_every_security_header_once(gateway: Nginx, functions: Script) -> None:
    seen = []
    for answer in every_kind_of_answer(gateway, functions):
        seen.append(answer.status)
        for name, value in SECURITY.items():
            assert answer.header(name).startswith(value), (answer.status, name)
        assert answer.header("X-Request-Id")
        assert answer.header("Server") == "nginx"
    assert seen == [200, 404, 500, 503, 502, 200, 404, 413, 400, 405, 200]


def test_a_function_may_say_its_own_content_policy(gateway: Nginx, functions: Script) -> None:
    functions.lines[:] = [Line(200, b"{}", {**DOOR, "Content-Security-Policy": "default-src 'none'"})]
    assert gateway.ask("/api/files").header("Content-Security-Policy") == "default-src 'none'"


def test_what_people_uploaded_may_run_nothing(gateway: Nginx) -> None:
    policy = gateway.ask("/auricle/me/page.html?X-Amz-Signature=s").header("Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert policy.endswith("sandbox")


def test_request_ids_are_kept_when_they_are_some_and_made_otherwise(gateway: Nginx, functions: Script) -> None:
    assert gateway.ask("/api/files", X_Request_Id="mine-0001").header("X-Request-Id") == "mine-0001"
    assert functions.heard[-1].headers["x-request-id"] == "mine-0001"
    made = gateway.ask("/api/files", X_Request_Id="no id").header("X-Request-Id")
    assert made == functions.heard[-1].headers["x-request-id"]
    assert functions.heard[-1].headers["traceparent"].startswith(f"00-{made}-{made[:16]}-")
    assert json.loads(gateway.ask("/nothing", X_Request_Id="mine-0002").body)["trace"]


def test_a_trace_goes_on(gateway: Nginx, functions: Script) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    gateway.ask("/api/files", traceparent=trace)
    assert functions.heard[-1].headers["traceparent"] == trace
    gateway.ask("/api/files", traceparent="00-nothing")
    assert functions.heard[-1].headers["traceparent"] != "00-nothing"


# Who asks


def told(heard: Heard) -> dict[str, str]:
    """A request's headers as a function's door has them."""
    return {name.title(): value for name, value in heard.headers.items()}


@pytest.mark.parametrize(
    "path", ["/api/files", "/api/files?cursor=%2F&limit=3", "/api/files/%C3%BC%20x", "/api/files/a%2Bb", "/api/docs/%7Bx%7D"]
)
def test_functions_are_told_who_asks(gateway: Nginx, functions: Script, path: str) -> None:
    gateway.ask(path, "DELETE", source="127.0.7.250", Host="vault.example")
    (heard,) = functions.heard
    assert heard.path == path
    client = ClientHeaders(KEY).client(told(heard), heard.method, unquote_to_bytes(path.partition("?")[0]))
    assert client is not None
    assert (client.address, client.origin, client.certificate) == ("127.0.7.250", "https://vault.example", None)


def test_the_same_is_told_over_http_2(gateway: Nginx, functions: Script) -> None:
    assert by_http_2(gateway, "/api/files", "--write-out", "%{http_version}") == b"{}2"
    client = ClientHeaders(KEY).client(told(functions.heard[0]), "GET", b"/api/files")
    assert client is not None
    assert (client.address, client.origin) == ("127.0.0.1", gateway.url)


def test_claims_from_outside_do_not_come_in(gateway: Nginx, functions: Script) -> None:
    names = ("Address", "Host", "Scheme", "Certificate", "Certificate-Subject", "Certificate-Fingerprint", "Signature")
    claims = {f"{PREFIX}{name}": "forged" for name in names}
    claims |= {"X-Forwarded-For": "forged", "X-Forwarded-Host": "forged", "Forwarded": "for=forged", "X-Real-IP": "forged"}
    claims |= {"Ce-Id": "forged", "Ce-Type": "forged", "Knative-Serving-Revision": "forged", "K-Network-Probe": "forged"}
    claims |= {"X-Envoy-Upstream-Rq-Timeout-Ms": "1", "User-Agent": "kube-probe/forged"}
    assert gateway.ask("/api/files", source="127.0.7.251", **claims).status == 200
    (heard,) = functions.heard
    assert "forged" not in str(heard.headers)
    assert "x-envoy-upstream-rq-timeout-ms" not in heard.headers
    client = ClientHeaders(KEY).client(told(heard), "GET", b"/api/files")
    assert client is not None
    assert client.address == "127.0.7.251"


def test_functions_are_told_of_certificates_that_were_verified(functions: Script, tmp_path: Path) -> None:
    ada, eve = certificate(tmp_path / "ada", "ada.test"), certificate(tmp_path / "eve", "eve.test")
    site = f"ssl_client_certificate {ada.certificate};\nssl_verify_client optional;\n"
    with nginx(tmp_path / "gateway", places(address(functions.url)), files={"site.conf": site}) as own:
        own.ask("/api/files", mine=ada)
        own.ask("/api/files", X_Auricle_Client_Certificate_Fingerprint=ada.fingerprint)
        clients = [ClientHeaders(KEY).client(told(heard), "GET", b"/api/files") for heard in functions.heard]
        assert [c and c.certificate for c in clients] == [
            Certificate(subject="O=Tests,CN=ada.test", fingerprint=ada.fingerprint),
            None,
        ]
        assert problem(own.ask("/api/files", mine=eve), 400, "bad-request")
        assert len(functions.heard) == 2


def test_behind_a_trusted_proxy_the_address_is_the_one_that_it_names(functions: Script, tmp_path: Path) -> None:
    site = "set_real_ip_from 127.0.0.1;\nreal_ip_header X-Forwarded-For;\nreal_ip_recursive on;\n"
    with nginx(tmp_path / "gateway", places(address(functions.url)), files={"site.conf": site}) as own:
        own.ask("/api/files", X_Forwarded_For="192.0.2.66, 192.0.2.7")
        own.ask("/api/files", source="127.0.0.2", X_Forwarded_For="192.0.2.7")
        clients = [ClientHeaders(KEY).client(told(heard), "GET", b"/api/files") for heard in functions.heard]
        assert [c.address for c in clients if c] == ["192.0.2.7", "127.0.0.2"]


# Limits


def test_a_body_is_as_large_as_functions_take_and_no_larger(gateway: Nginx, functions: Script) -> None:
    assert gateway.ask("/api/files", "POST", b"x" * MAX_BODY).status == 200
    assert len(functions.heard[0].body) == MAX_BODY
    problem(gateway.ask("/api/files", "POST", b"x" * (MAX_BODY + 1)), 413, "too-large")
    assert len(functions.heard) == 1


def test_whoever_asks_too_often_waits_and_others_do_not(gateway: Nginx) -> None:
    busy = gateway.address()
    answers = [gateway.ask("/api/tokens", source=busy) for _ in range(60)]
    refused = [a for a in answers if a.status != 200]
    assert refused
    problem(refused[0], 429, "too-many")
    assert int(refused[0].header("Retry-After")) >= 1
    assert gateway.ask("/api/files", source=busy).status == 200
    assert gateway.ask("/api/tokens", source=gateway.address()).status == 200


# What passes through


class Slow(BaseHTTPRequestHandler):
    """An upstream that a test holds by the hand."""

    protocol_version = "HTTP/1.1"
    go_on = threading.Event()
    begun = threading.Event()
    received = 0
    seen: tuple[str, str, str] = ("", "", "")

    def do_GET(self) -> None:
        """Two events; the second when the test says so."""
        self.send_response(200)
        for name, value in {**DOOR, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for text in (b"data: one\n\n", b"data: two\n\n"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            self.wfile.flush()
            assert self.go_on.wait(20)
        self.wfile.write(b"0\r\n\r\n")

    def do_PUT(self) -> None:
        """Says when the first bytes are there."""
        Slow.seen = (self.path, self.headers["Host"], self.headers.get("Authorization", ""))
        left = int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read1(min(left, 65536))
            left -= len(piece)
            Slow.received += len(piece)
            self.begun.set()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Nginx]:
    """A gateway before such an upstream."""
    Slow.go_on, Slow.begun, Slow.received = threading.Event(), threading.Event(), 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    place = f"127.0.0.1:{server.server_port}"
    with nginx(tmp_path / "gateway", places(place, place)) as made:
        yield made
    Slow.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_events_arrive_as_they_happen(slow: Nginx) -> None:
    line = slow.connection()
    line.request("GET", "/api/events", headers={"Accept-Encoding": "gzip"})
    response = line.getresponse()
    assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream")
    assert response.headers["Content-Encoding"] is None
    assert response.readline() == b"data: one\n"  # while the function still holds the second one
    Slow.go_on.set()
    assert response.read() == b"\ndata: two\n\n"
    line.close()


def test_large_parts_stream_through_to_the_store_as_they_were_signed(slow: Nginx) -> None:
    size = 20 * 2**20
    path = "/auricle/me/%C3%BC%20a%2Bb.wav?X-Amz-Signature=s%2F&partNumber=1"
    line = slow.connection()
    line.putrequest("PUT", path, skip_host=True)
    for name, value in {"Host": "vault.example:8443", "Content-Length": str(size), "Authorization": "Bearer aur_x"}.items():
        line.putheader(name, value)
    line.endheaders()
    line.send(b"x" * 2**20)
    assert Slow.begun.wait(20)  # the store has the first bytes before we have sent the others
    assert Slow.received < size
    for _ in range(19):
        line.send(b"x" * 2**20)
    assert read(line.getresponse()).status == 200
    assert Slow.received == size
    assert Slow.seen == (path, "vault.example:8443", "")
    line.close()


def test_signatures_in_headers_reach_the_store_and_ranges_come_back(gateway: Nginx, store: Script) -> None:
    store.lines[:] = [Line(206, b"yt", {"Content-Range": "bytes 1-2/5", "ETag": '"e"'})]
    signed = "AWS4-HMAC-SHA256 Credential=k"
    answer = gateway.ask("/auricle/me/a", Range="bytes=1-2", Authorization=signed)
    assert (answer.status, answer.body, answer.header("Content-Range")) == (206, b"yt", "bytes 1-2/5")
    assert (store.heard[0].headers["range"], store.heard[0].headers["authorization"]) == ("bytes=1-2", signed)


def test_long_answers_are_compressed_for_whoever_can_read_that(gateway: Nginx, functions: Script) -> None:
    functions.lines[:] = [Line(200, b'{"a": "' + b"x" * 4000 + b'"}', DOOR)]
    answer = gateway.ask("/api/files", Accept_Encoding="gzip")
    assert (answer.header("Content-Encoding"), len(answer.body) < 400) == ("gzip", True)
    assert gateway.ask("/api/files").header("Content-Encoding") == ""


# While a function is away


AWAY = (Line(502, b"bad gateway"), Line(503, b"no healthy upstream"), Line(504, b"activator request timeout"))


@pytest.mark.parametrize("line", [*AWAY, Line(drop=True)], ids=lambda line: f"{line.status}{line.body.decode()[:3]}")
def test_while_a_function_wakes_programs_are_told_when_to_come_back(gateway: Nginx, functions: Script, line: Line) -> None:
    functions.lines[:] = [line]
    answer = gateway.ask("/api/files", "POST", b"{}")
    problem(answer, 502 if line.drop else line.status, "unavailable")
    assert (answer.header("Retry-After"), answer.header("Cache-Control")) == ("3", "no-store")


@pytest.mark.parametrize("line", [*AWAY, Line(drop=True)], ids=lambda line: f"{line.status}{line.body.decode()[:3]}")
def test_while_a_function_wakes_people_see_a_page_that_tries_again(gateway: Nginx, functions: Script, line: Line) -> None:
    functions.lines[:] = [line]
    answer = gateway.ask("/api/docs", Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert (answer.status >= 502, answer.header("Content-Type")) == (True, "text/html; charset=utf-8")
    assert b'http-equiv="refresh" content="3"' in answer.body
    assert b"starting" in answer.body


def test_a_function_that_the_ingress_does_not_know_is_not_there_yet(gateway: Nginx, functions: Script) -> None:
    functions.lines[:] = [Line(404)]
    done = by_http_2(gateway, "/api/files", "--include")
    assert done.startswith(b"HTTP/2 503")
    assert json.loads(done.partition(b"\r\n\r\n")[2])["type"] == "urn:auricle:problem:unavailable"


@pytest.mark.parametrize("status", [404, 502, 503, 504])
def test_what_a_function_itself_says_is_left_as_it_is(gateway: Nginx, functions: Script, status: int) -> None:
    said = b'{"detail": "The database is away."}'
    functions.lines[:] = [Line(status, said, {**DOOR, "Content-Type": "application/problem+json", "Retry-After": "7"})]
    answer = gateway.ask("/api/files", Accept="text/html")
    assert (answer.status, answer.body, answer.header("Retry-After")) == (status, said, "7")


def test_paths_of_nobody_are_said_to_be_so(gateway: Nginx, functions: Script) -> None:
    for path in ("/nothing", "/events/advance", "/api/files/", "/API/files", '/a"b%0A', "/auricle"):
        answer = gateway.ask(path.replace('"', "%22"))
        if path == "/api/files/":
            assert answer.status == 200
        else:
            problem(answer, 404, "not-found")
    assert [heard.path for heard in functions.heard] == ["/api/files/"]


def test_it_starts_and_answers_while_no_name_can_be_looked_up(tmp_path: Path) -> None:
    with nginx(tmp_path / "gateway", (FILES / "place.conf").read_text()) as alone:
        assert alone.ask("/healthz").status == 200
        problem(alone.ask("/api/files"), 502, "unavailable")


# What is written down, and how it ends


def test_queries_are_written_down_nowhere(tmp_path: Path, functions: Script) -> None:
    with nginx(tmp_path / "gateway", places(address(functions.url))) as own:
        own.ask("/api/files?cursor=SECRET", Referer="https://vault.example/?SECRET")
        assert own.ask("/auricle/me/a?X-Amz-Signature=SECRET").status == 502
        own.process.send_signal(signal.SIGQUIT)
        own.process.wait(20)  # what it still had to write is written
        lines = [json.loads(line) for line in own.log("access").splitlines()]
        assert [(line["path"], line["status"], line["function"]) for line in lines[-2:]] == [
            ("/api/files", 200, "files"),
            ("/auricle/me/a", 502, ""),
        ]
        assert "SECRET" not in own.log("access") + own.log("error")


def test_it_lets_requests_end_when_it_is_asked_to_stop(slow: Nginx) -> None:
    line = slow.connection()
    line.request("GET", "/api/events")
    response = line.getresponse()
    assert response.readline() == b"data: one\n"
    slow.process.send_signal(signal.SIGQUIT)
    Slow.go_on.set()
    assert response.read() == b"\ndata: two\n\n"
    line.close()
    assert slow.process.wait(20) == 0
