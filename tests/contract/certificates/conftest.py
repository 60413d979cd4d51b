"""A whole PKI on loopback; all is well until a test says otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builders.pki import Authority, publishing
from builders.pki_house import House


@pytest.fixture
def house() -> Iterator[House]:
    """Everybody answers; nobody is revoked. Certificates name lists only; `responding` adds a responder."""
    with publishing() as web:
        root = Authority.root()
        root.crl = f"{web.url}/root.crl"
        issuing = root.under()
        issuing.crl = f"{web.url}/issuing.crl"
        made = House(root, issuing, web)
        made.publish()
        yield made


@pytest.fixture
def responding(house: House) -> House:
    """The same, and the issuing authority's certificates name a responder which knows whatever it is asked."""
    house.issuing.ocsp = f"{house.web.url}/ocsp"
    house.issuing.crl = None
    return house
