"""Signers and verifiers, each against each."""

from __future__ import annotations

import pytest

from auricle.adapters.signing.es256 import Es256Verifier
from auricle.adapters.signing.joserfc import JoserfcSigner
from auricle.ports.signing import TokenSigner, TokenVerifier
from builders.signing import JoserfcVerifier, Keys, PlainSigner

SIGNERS = {"joserfc": JoserfcSigner, "plain": PlainSigner}
VERIFIERS = {"es256": Es256Verifier, "joserfc": JoserfcVerifier}


@pytest.fixture
def keys() -> Keys:
    """A deployment with one key."""
    return Keys()


@pytest.fixture(params=SIGNERS)
def signer(request: pytest.FixtureRequest, keys: Keys) -> TokenSigner:
    """Who makes tokens."""
    made: TokenSigner = SIGNERS[request.param](keys.secret)
    return made


@pytest.fixture(params=VERIFIERS)
def verifier(request: pytest.FixtureRequest, keys: Keys) -> TokenVerifier:
    """Who checks them."""
    made: TokenVerifier = VERIFIERS[request.param](keys.published)
    return made
