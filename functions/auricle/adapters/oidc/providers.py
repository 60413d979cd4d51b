"""The configured providers. Authlib, joserfc and urllib3 are loaded by the first sign-in, not by the start of a function."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from auricle.ports.oidc import Connection, OidcProvider

PROVIDERS = 32
"""Kept with their caches; more than anybody configures, few enough to forget old configurations."""


class OpenIdProviders:
    """`ports.oidc.OidcProviders`: one `OpenIdProvider` per connection, so that caches outlive a request. Safe for threads."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._open: OrderedDict[Connection, OidcProvider] = OrderedDict()

    def for_(self, connection: Connection) -> OidcProvider:
        """See `OidcProviders.for_`."""
        from auricle.adapters.oidc.provider import OpenIdProvider  # a quarter of a second

        with self._lock:
            provider = self._open.pop(connection, None) or OpenIdProvider(connection, now=self._now)
            self._open[connection] = provider
            if len(self._open) > PROVIDERS:
                self._open.popitem(last=False)
            return provider
