"""What functions without credentials can do with links, whatever store is behind them."""

from __future__ import annotations

import pytest

from auricle.errors import NotFound, Permanent
from auricle.ports.blobs import Audience
from builders.blob_shops import Shop

DATA = bytes(range(256)) * 4096 * 3  # 3 MiB


def test_bytes_are_fetched_and_stored(shop: Shop) -> None:
    shop.store.put("f/chunk", DATA)
    assert shop.signed.fetch(shop.store.sign_get("f/chunk", 60, Audience.POD)) == DATA
    shop.signed.store(shop.store.sign_put("f/words", 60, Audience.POD), DATA)
    with shop.store.open("f/words") as reader:
        assert reader.read() == DATA


def test_nothing_is_something_too(shop: Shop) -> None:
    shop.signed.store(shop.store.sign_put("f/empty", 60, Audience.POD), b"")
    assert shop.signed.fetch(shop.store.sign_get("f/empty", 60, Audience.POD)) == b""


def test_storing_again_replaces(shop: Shop) -> None:
    url = shop.store.sign_put("f/words", 60, Audience.POD)
    shop.signed.store(url, b"one")
    shop.signed.store(url, b"two")
    assert shop.signed.fetch(shop.store.sign_get("f/words", 60, Audience.POD)) == b"two"


def test_what_is_not_there_is_not_found(shop: Shop) -> None:
    with pytest.raises(NotFound):
        shop.signed.fetch(shop.store.sign_get("f/none", 60, Audience.POD))


def test_expired_and_misused_links_can_never_work(shop: Shop) -> None:
    shop.store.put("f/chunk", DATA)
    with pytest.raises(Permanent):
        shop.signed.fetch(shop.store.sign_get("f/chunk", -100, Audience.POD))
    with pytest.raises(Permanent):
        shop.signed.store(shop.store.sign_put("f/words", -100, Audience.POD), b"x")
    with pytest.raises(Permanent):
        shop.signed.store(shop.store.sign_get("f/chunk", 60, Audience.POD), b"x")
    assert shop.store.stat("f/words") is None
