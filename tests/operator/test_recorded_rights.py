"""A request is written down as the right that RBAC asks for."""

from __future__ import annotations

import pytest

from cluster.operator.recording import Asked, asked, missing, unused

NS = "/api/v1/namespaces/auricle-acme"


@pytest.mark.parametrize(
    ("method", "target", "status", "expected"),
    [
        ("GET", "/api/v1/nodes", 200, [("list", "", "nodes", False)]),
        ("GET", "/api/v1/nodes/one", 200, [("get", "", "nodes", False)]),
        ("HEAD", "/api/v1/nodes/one", 200, [("get", "", "nodes", False)]),
        ("GET", "/api/v1/namespaces", 200, [("list", "", "namespaces", False)]),
        ("GET", "/api/v1/namespaces?watch=true&resourceVersion=7", 200, [("watch", "", "namespaces", False)]),
        ("GET", "/api/v1/namespaces?watch=1", 200, [("watch", "", "namespaces", False)]),
        ("GET", "/api/v1/namespaces?watch=false", 200, [("list", "", "namespaces", False)]),
        ("GET", NS, 200, [("get", "", "namespaces", False)]),
        ("PATCH", f"{NS}/status", 200, [("patch", "", "namespaces/status", False)]),
        ("PUT", f"{NS}/finalize", 200, [("update", "", "namespaces/finalize", False)]),
        ("DELETE", NS, 200, [("delete", "", "namespaces", False)]),
        ("GET", f"{NS}/secrets", 200, [("list", "", "secrets", True)]),
        ("GET", "/api/v1/secrets", 200, [("list", "", "secrets", False)]),
        ("POST", f"{NS}/secrets?fieldManager=x", 201, [("create", "", "secrets", True)]),
        ("DELETE", f"{NS}/secrets", 200, [("deletecollection", "", "secrets", True)]),
        ("DELETE", f"{NS}/secrets/a", 404, [("delete", "", "secrets", True)]),
        ("GET", f"{NS}/pods/a/log?container=main", 200, [("get", "", "pods/log", True)]),
        ("POST", f"{NS}/pods/a/exec", 101, [("create", "", "pods/exec", True)]),
        (
            "PATCH",
            "/apis/serving.knative.dev/v1/namespaces/auricle-acme/services/home?fieldManager=x&force=true",
            200,
            [("patch", "serving.knative.dev", "services", True)],
        ),
        (
            "PATCH",
            "/apis/serving.knative.dev/v1/namespaces/auricle-acme/services/home?fieldManager=x&force=true",
            201,
            [("patch", "serving.knative.dev", "services", True), ("create", "serving.knative.dev", "services", True)],
        ),
        (
            "GET",
            "/apis/auricle.dev/v1alpha1/tenants?watch=true&fieldSelector=metadata.name%3Dacme",
            200,
            [("watch", "auricle.dev", "tenants", False)],
        ),
        ("PATCH", "/apis/auricle.dev/v1alpha1/tenants/acme/status", 200, [("patch", "auricle.dev", "tenants/status", False)]),
        ("PUT", "/apis/apps/v1/namespaces/a/deployments/b/scale", 200, [("update", "apps", "deployments/scale", True)]),
        ("GET", "/api", 200, []),
        ("GET", "/api/v1", 200, []),
        ("GET", "/apis", 200, []),
        ("GET", "/apis/apps/v1", 200, []),
        ("GET", "/openapi/v3?hash=x", 200, []),
        ("GET", "/version", 200, []),
        ("GET", "/readyz?verbose", 200, []),
    ],
)
def test_a_request_is_the_right_that_it_needs(
    method: str, target: str, status: int, expected: list[tuple[str, str, str, bool]]
) -> None:
    assert asked(method, target, status) == tuple(Asked(*each) for each in expected)


RULES = [
    {"apiGroups": [""], "resources": ["secrets", "pods/log"], "verbs": ["get"]},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch", "delete"]},
]


def test_what_is_allowed_and_never_asked_for_is_named() -> None:
    recorded = [Asked("get", "", "secrets"), Asked("get", "", "pods/log"), Asked("patch", "apps", "deployments")]
    assert unused(RULES, recorded) == [("apps", "deployments", "delete")]
    assert unused(RULES, [*recorded, Asked("delete", "apps", "deployments", False)]) == []
    assert unused([{"nonResourceURLs": ["/healthz"], "verbs": ["get"]}], []) == []


def test_a_star_is_never_used() -> None:
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    assert unused(rules, [Asked("get", "", "secrets")]) == [("*", "*", "*")]
    assert missing(rules, [Asked("get", "", "secrets")]) == []


def test_what_is_asked_for_and_not_allowed_is_named() -> None:
    recorded = [
        Asked("get", "", "secrets"),
        Asked("list", "", "secrets"),
        Asked("get", "", "pods"),
        Asked("get", "x", "secrets"),
    ]
    assert missing(RULES, recorded) == [("", "pods", "get"), ("", "secrets", "list"), ("x", "secrets", "get")]
