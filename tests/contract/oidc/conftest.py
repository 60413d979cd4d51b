"""Providers under contract: the small one at once, Keycloak in the services lane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from auricle.adapters.oidc.provider import OpenIdProvider
from auricle.identity.oidc.arrival import callback
from auricle.ports.oidc import Authorization, Connection, Expected, OidcProvider, SignIn
from builders import keycloak_server
from builders.oidc_provider import Pairs, SmallProvider, small_provider

KEYCLOAK = pytest.param("keycloak", marks=[pytest.mark.services, pytest.mark.timeout(400)])


class Peer(Protocol):
    """A provider and its people, as tests use them."""

    @property
    def heard(self) -> list[str]: ...

    def connection(self, **more: object) -> Connection: ...

    def sign_in(self, url: str, person: str = "alice") -> Pairs: ...

    def sign_out(self, url: str) -> str: ...


Walk = Callable[..., SignIn]


@pytest.fixture
def small() -> Iterator[SmallProvider]:
    """The small provider, well-behaved so far."""
    with small_provider() as running:
        yield running


@pytest.fixture(params=["small", KEYCLOAK])
def peer(request: pytest.FixtureRequest) -> Peer:
    """Every provider."""
    return request.getfixturevalue("small") if request.param == "small" else keycloak_server.shared()  # type: ignore[no-any-return]


@pytest.fixture
def ours(small: SmallProvider) -> OpenIdProvider:
    """The adapter, connected to the small provider."""
    return OpenIdProvider(small.connection())


def expected(sent: Authorization, redirect_uri: str, max_age: int | None = None) -> Expected:
    return Expected(
        state=sent.state, nonce=sent.nonce, code_verifier=sent.code_verifier, redirect_uri=redirect_uri, max_age=max_age
    )


@pytest.fixture
def walk() -> Walk:
    """Sign somebody in, all the way; `change` gets to see what comes back first."""

    def walked(
        provider: OidcProvider,
        peer: Peer,
        person: str = "alice",
        max_age: int | None = None,
        change: Callable[[Pairs], Pairs] = lambda pairs: pairs,
    ) -> SignIn:
        uri = peer.connection().redirect_uris[0]
        sent = provider.begin(uri, max_age=max_age)
        return provider.finish(callback(change(peer.sign_in(sent.url, person))), expected(sent, uri, max_age))

    return walked
