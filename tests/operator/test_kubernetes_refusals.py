"""What the API server's answers become, without a server: those that no real one gives when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from lightkube import KubeConfig
from lightkube.config.models import Cluster as Server
from lightkube.config.models import User

from auricle.errors import Permanent, Retryable
from auricle_operator.adapters.kubernetes import LightkubeCluster, connected
from auricle_operator.cluster import CONFIG, KSERVICE, NAMESPACE, SECRET, Gone
from auricle_operator.metrics import REGISTRY

Answer = Callable[[httpx2.Request], httpx2.Response]
SETTINGS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "auricle-acme"}, "data": {}}
KEY = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "key", "namespace": "auricle-acme"},
    "data": {"k": "dG9wc2VjcmV0"},
}
TENANT = {"apiVersion": "auricle.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme", "uid": "1"}}


def answering(answer: Answer) -> LightkubeCluster:
    config = KubeConfig.from_one(cluster=Server(server="http://nowhere"), user=User(token="t"))
    return connected(config, httpx2.MockTransport(answer))


def refused(code: int, message: str, *, reason: str = "", details: dict[str, Any] | None = None, **headers: str) -> Answer:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code}
    return lambda _: httpx2.Response(code, json={**body, "details": details or {}}, headers=headers)


def applied(answer: Answer, manifest: dict[str, Any] = SETTINGS) -> Any:
    return asyncio.run(answering(answer).apply(manifest))


@pytest.mark.parametrize("code", [408, 410, 429, 500, 502, 503, 504])
def test_a_server_that_cannot_now_is_asked_again_when_it_says(code: int) -> None:
    with pytest.raises(Retryable, match="ConfigMap auricle-acme/settings") as raised:
        applied(refused(code, "not now", **{"Retry-After": "17"}))
    assert raised.value.delay == 17
    with pytest.raises(Retryable) as raised:
        applied(refused(code, "not now", details={"retryAfterSeconds": 2}))
    assert raised.value.delay == 2
    with pytest.raises(Retryable) as raised:
        applied(refused(code, "not now", **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}))
    assert raised.value.delay == 5


def test_an_answer_in_plain_text_or_without_a_type_is_one_too() -> None:
    with pytest.raises(Retryable, match="Too many requests"):
        applied(lambda _: httpx2.Response(429, text="Too many requests, please try again later."))
    with pytest.raises(Retryable):
        applied(lambda _: httpx2.Response(503))
    with pytest.raises(Retryable, match="cannot be read"):
        applied(lambda _: httpx2.Response(200, content=b'{"kind": "Conf'))


@pytest.mark.parametrize("error", [httpx2.ConnectError, httpx2.ReadTimeout, httpx2.RemoteProtocolError, ConnectionResetError])
def test_a_server_that_does_not_answer_is_asked_again(error: type[Exception]) -> None:
    def fail(_: httpx2.Request) -> httpx2.Response:
        raise error("gone")

    with pytest.raises(Retryable, match="does not answer"):
        applied(fail)


def test_a_token_that_is_not_accepted_is_nothing_that_the_object_can_help() -> None:
    with pytest.raises(Retryable, match="token"):
        applied(refused(401, "Unauthorized", reason="Unauthorized"))


def test_somebody_elses_change_at_the_same_moment_is_soon_over() -> None:
    with pytest.raises(Retryable) as raised:
        applied(refused(409, "the object has been modified", reason="Conflict"))
    assert raised.value.delay == 1


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (400, 'admission webhook "validation.webhook.serving.knative.dev" denied the request: missing field(s): spec'),
        (403, 'configmaps "settings" is forbidden: exceeded quota: plan, requested: count/configmaps=1'),
        (403, 'User "system:serviceaccount:a:b" cannot patch resource "configmaps" in API group ""'),
        (422, 'Tenant.auricle.dev "acme" is invalid: spec: min is above max: lower it, or raise max.'),
        (413, "Request entity too large"),
        (500, "failed to create typed patch object (a/b; /v1, Kind=ConfigMap): .data.x: expected string, got 1"),
    ],
)
def test_a_refusal_for_good_is_told_in_the_servers_words(code: int, sentence: str) -> None:
    with pytest.raises(Permanent) as raised:
        applied(refused(code, sentence))
    assert str(raised.value) == f"ConfigMap auricle-acme/settings is refused: {sentence}"


def test_a_sentence_without_end_is_cut() -> None:
    with pytest.raises(Permanent) as raised:
        applied(refused(422, "word " * 5000))
    assert len(str(raised.value)) < 2100


@pytest.mark.parametrize("code", [400, 403, 409, 422, 429, 500])
def test_nothing_is_repeated_that_was_said_of_a_secret(code: int) -> None:
    details = {"causes": [{"reason": "FieldValueInvalid", "message": "dG9wc2VjcmV0", "field": "data[k]"}]}
    with pytest.raises((Permanent, Retryable)) as raised:
        applied(refused(code, 'data[k]: Invalid value: "dG9wc2VjcmV0"', reason="Invalid", details=details), KEY)
    assert "Secret auricle-acme/key" in str(raised.value)
    assert "data[k]" in str(raised.value)
    assert "dG9wc2VjcmV0" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_a_namespace_that_is_ending_or_not_there_is_gone() -> None:
    causes = [{"reason": "NamespaceTerminating", "message": "being terminated", "field": "metadata.namespace"}]
    with pytest.raises(Gone, match="ending"):
        applied(refused(403, "is forbidden", reason="Forbidden", details={"causes": causes}))
    missing = {"name": "auricle-acme", "kind": "namespaces"}
    with pytest.raises(Gone, match="not there"):
        applied(refused(404, 'namespaces "auricle-acme" not found', reason="NotFound", details=missing))
    cluster = answering(refused(404, 'namespaces "auricle-acme" not found', reason="NotFound", details=missing))
    assert asyncio.run(cluster.get(NAMESPACE, "auricle-acme")) is None


@pytest.mark.parametrize(
    "answer",
    [
        refused(404, "the server could not find the requested resource", reason="NotFound"),
        lambda _: httpx2.Response(404, text="404 page not found"),
    ],
)
def test_a_kind_that_is_not_installed_is_not_an_object_that_is_not_there(answer: Answer) -> None:
    with pytest.raises(Permanent, match=r"services of serving\.knative\.dev/v1"):
        asyncio.run(answering(answer).get(KSERVICE, "home", "auricle-acme"))
    with pytest.raises(Permanent, match="Install"):
        asyncio.run(answering(answer).list(KSERVICE))


def test_what_came_and_went_between_two_questions_is_asked_for_again() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return refused(409, "already exists", reason="AlreadyExists")(request)
        return refused(404, "not found", reason="NotFound", details={"name": "key", "kind": "secrets"})(request)

    with pytest.raises(Retryable, match="came and went"):
        asyncio.run(answering(answer).create(KEY))


def test_requests_are_counted_by_what_was_answered() -> None:
    def counted(verb: str, resource: str, code: str) -> float:
        return (
            REGISTRY.get_sample_value("auricle_operator_api_calls_total", {"verb": verb, "resource": resource, "code": code})
            or 0
        )

    def fail(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("gone")

    before = [counted("get", "services", "404"), counted("get", "services", "none"), counted("patch", "services/status", "200")]
    gone = refused(404, "not found", details={"name": "home", "kind": "services"})
    assert asyncio.run(answering(gone).get(KSERVICE, "home", "auricle-acme")) is None
    with pytest.raises(Retryable):
        asyncio.run(answering(fail).get(KSERVICE, "home", "auricle-acme"))
    asyncio.run(answering(lambda _: httpx2.Response(200, json={})).status(KSERVICE, "home", "auricle-acme", {}))
    after = [counted("get", "services", "404"), counted("get", "services", "none"), counted("patch", "services/status", "200")]
    assert [a - b for a, b in zip(after, before, strict=True)] == [1, 1, 1]


def test_a_long_list_is_read_page_by_page() -> None:
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        page = int(request.url.params.get("continue", "1"))
        metadata = {"continue": str(page + 1)} if page < 3 else {}
        return httpx2.Response(200, json={"metadata": metadata, "items": [{"metadata": {"name": f"n{page}"}}]})

    found = asyncio.run(answering(answer).list(SECRET, "auricle-acme", {"a": "b"}))
    assert [(m["kind"], m["metadata"]["name"]) for m in found] == [("Secret", f"n{page}") for page in (1, 2, 3)]
    assert [(params["labelSelector"], params["limit"]) for params in asked] == [("a=b", "500")] * 3


def test_the_same_is_told_once_an_hour() -> None:
    told: list[Any] = []
    now = [datetime(2026, 11, 21, 12, 40, tzinfo=UTC)]

    def answer(request: httpx2.Request) -> httpx2.Response:
        told.append((request.url.path, request.content))
        return httpx2.Response(201, content=request.content)

    config = KubeConfig.from_one(cluster=Server(server="http://nowhere"), user=User(token="t"))
    cluster = connected(config, httpx2.MockTransport(answer), now=lambda: now[0])

    async def tell() -> None:
        await cluster.tell(TENANT, "BucketFailed", "The store is away.", warning=True)
        await cluster.tell(TENANT, "BucketFailed", "The store is away.", warning=True)
        now[0] += timedelta(minutes=59)  # another hour on the clock
        await cluster.tell(TENANT, "BucketFailed", "The store is away.", warning=True)
        assert len(told) == 1
        await cluster.tell(TENANT, "BucketFailed", "The store is full.", warning=True)
        assert len(told) == 2
        now[0] += timedelta(minutes=1)
        await cluster.tell(TENANT, "BucketFailed", "The store is away.", warning=True)

    asyncio.run(tell())
    assert len(told) == 3
    assert told[0][0] == "/api/v1/namespaces/default/events"


@pytest.mark.parametrize("code", [403, 409, 422, 500])
def test_an_event_that_is_not_taken_stops_nobody(code: int) -> None:
    asyncio.run(answering(refused(code, "no")).tell(SETTINGS, "Tried", "hello"))


@pytest.mark.parametrize("code", [400, 404])
def test_a_container_that_has_not_begun_wrote_nothing(code: int) -> None:
    answer = refused(code, 'container "main" is waiting to start', details={"name": "p", "kind": "pods"})
    assert asyncio.run(answering(answer).logs("auricle-acme", "p", "main", 5)) == ""


def test_a_namespace_that_is_ending_may_be_ended_again() -> None:
    ending = {"metadata": {"name": "auricle-acme", "deletionTimestamp": "2026-11-21T12:00:00Z"}}

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "DELETE":
            return refused(409, "The system is ensuring all content is removed", reason="Conflict")(request)
        return httpx2.Response(200, json=ending)

    asyncio.run(answering(answer).delete(NAMESPACE, "auricle-acme"))
    with pytest.raises(Retryable):
        asyncio.run(answering(refused(409, "busy", reason="Conflict")).delete(CONFIG, "settings", "auricle-acme"))


def test_no_way_to_a_cluster_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(Permanent, match="KUBECONFIG"):
        connected()
