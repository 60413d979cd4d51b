"""What every store does with part uploads."""

from __future__ import annotations

import pytest

from auricle.errors import Conflict, Invalid, NotFound
from auricle.ports.blobs import BlobStore, Part
from builders.blob_shops import PART, Shop

FIRST, SECOND, LAST = b"1" * PART, b"2" * PART, b"the end"


def send(shop: Shop, ref: str, number: int, data: bytes, key: str = "u/big") -> int:
    """PUT a part as a browser would; returns the status."""
    return shop.request("PUT", shop.store.sign_part(key, ref, number, len(data), 60), data).status


def test_parts_sent_in_any_order_become_the_object(shop: Shop) -> None:
    ref = shop.store.begin_parts("u/big", "video/mp4")
    for number, data in ((3, LAST), (1, FIRST), (2, SECOND)):
        assert send(shop, ref, number, data) == 200
    parts = list(shop.store.parts("u/big", ref))
    assert [(part.number, part.size) for part in parts] == [(1, PART), (2, PART), (3, 7)]
    assert shop.store.stat("u/big") is None
    blob = shop.store.finish_parts("u/big", ref, parts)
    assert (blob.key, blob.size, blob.content_type) == ("u/big", 2 * PART + 7, "video/mp4")
    assert shop.store.stat("u/big") == blob
    with shop.store.open("u/big") as reader:
        assert reader.read() == FIRST + SECOND + LAST


def test_one_small_part_is_enough(shop: Shop) -> None:
    ref = shop.store.begin_parts("u/big")
    send(shop, ref, 1, b"tiny")
    assert shop.store.finish_parts("u/big", ref, shop.store.parts("u/big", ref)).size == 4


def test_an_upload_is_resumed_by_looking_at_its_parts(shop: Shop) -> None:
    ref = shop.store.begin_parts("u/big")
    assert list(shop.store.parts("u/big", ref)) == []
    send(shop, ref, 2, LAST)
    assert [part.number for part in shop.store.parts("u/big", ref)] == [2]
    send(shop, ref, 1, FIRST)
    assert [part.number for part in shop.store.parts("u/big", ref)] == [1, 2]


def test_a_part_that_is_sent_again_replaces_the_first_one(shop: Shop) -> None:
    ref = shop.store.begin_parts("u/big")
    send(shop, ref, 1, b"first try")
    stale = list(shop.store.parts("u/big", ref))
    send(shop, ref, 1, b"second")
    fresh = list(shop.store.parts("u/big", ref))
    assert [part.size for part in fresh] == [6]
    with pytest.raises(Invalid):
        shop.store.finish_parts("u/big", ref, stale)
    assert shop.store.finish_parts("u/big", ref, fresh).size == 6


def test_part_numbers_may_have_gaps(shop: Shop) -> None:
    ref = shop.store.begin_parts("u/big")
    send(shop, ref, 7, FIRST)
    send(shop, ref, 10_000, LAST)
    assert shop.store.finish_parts("u/big", ref, shop.store.parts("u/big", ref)).size == PART + 7


def test_finishing_with_a_part_that_is_not_there_is_refused_and_harms_nothing(shop: Shop) -> None:
    ref = shop.store.begin_parts("u/big")
    send(shop, ref, 1, FIRST)
    there = list(shop.store.parts("u/big", ref))
    missing = Part(2, PART, "0" * 32)
    with pytest.raises((Invalid, Conflict)):
        shop.store.finish_parts("u/big", ref, [*there, missing])
    assert shop.store.stat("u/big") is None
    assert list(shop.store.parts("u/big", ref)) == there
    assert shop.store.finish_parts("u/big", ref, there).size == PART


def test_parts_are_named_once_in_rising_order_and_there_is_at_least_one(shop: Shop) -> None:
    ref = shop.store.begin_parts("u/big")
    send(shop, ref, 1, FIRST)
    send(shop, ref, 2, LAST)
    one, two = shop.store.parts("u/big", ref)
    for wrong in ([], [two, one], [one, one]):
        with pytest.raises(Invalid):
            shop.store.finish_parts("u/big", ref, wrong)
    assert shop.store.finish_parts("u/big", ref, [one, two]).size == PART + 7


@pytest.mark.parametrize("number", [0, -1, 10_001])
def test_impossible_part_numbers_are_refused(store: BlobStore, number: int) -> None:
    ref = store.begin_parts("u/big")
    with pytest.raises(Invalid):
        store.sign_part("u/big", ref, number, 1, 60)


def test_a_part_that_was_uploaded_cannot_be_left_out(shop: Shop) -> None:
    ref = shop.store.begin_parts("u/big")
    send(shop, ref, 1, FIRST)
    send(shop, ref, 2, b"left out")
    with pytest.raises(Invalid):
        shop.store.finish_parts("u/big", ref, shop.store.parts("u/big", ref)[:1])
    assert shop.store.stat("u/big") is None


def test_finishing_twice_gives_the_same_object(shop: Shop) -> None:
    ref = shop.store.begin_parts("u/big")
    send(shop, ref, 1, FIRST)
    send(shop, ref, 2, LAST)
    parts = list(shop.store.parts("u/big", ref))
    blob = shop.store.finish_parts("u/big", ref, parts)
    assert shop.store.finish_parts("u/big", ref, parts) == blob
    assert shop.store.stat("u/big") == blob


def test_a_finished_upload_is_not_found_any_more(shop: Shop) -> None:
    ref = shop.store.begin_parts("u/big")
    late = shop.store.sign_part("u/big", ref, 2, 4, 60)
    send(shop, ref, 1, LAST)
    blob = shop.store.finish_parts("u/big", ref, shop.store.parts("u/big", ref))
    with pytest.raises(NotFound):
        shop.store.parts("u/big", ref)
    assert shop.request("PUT", late, b"late").status == 404
    shop.store.abort_parts("u/big", ref)
    assert shop.store.stat("u/big") == blob


def test_an_aborted_upload_leaves_nothing(shop: Shop) -> None:
    ref = shop.store.begin_parts("u/big")
    url = shop.store.sign_part("u/big", ref, 1, 7, 60)
    assert shop.request("PUT", url, LAST).status == 200
    parts = list(shop.store.parts("u/big", ref))
    shop.store.abort_parts("u/big", ref)
    shop.store.abort_parts("u/big", ref)
    assert shop.request("PUT", url, LAST).status == 404
    with pytest.raises(NotFound):
        shop.store.parts("u/big", ref)
    with pytest.raises(NotFound):
        shop.store.finish_parts("u/big", ref, parts)
    assert shop.store.stat("u/big") is None


def test_uploads_nobody_began_are_not_found(store: BlobStore) -> None:
    ref = store.begin_parts("u/big")
    for key, unknown in (("u/big", "0" * 32), ("u/big", "../../objects"), ("u/other", ref)):
        with pytest.raises(NotFound):
            store.parts(key, unknown)
        with pytest.raises(NotFound):
            store.finish_parts(key, unknown, [Part(1, 1, "0" * 32)])
        store.abort_parts(key, unknown)
    assert list(store.parts("u/big", ref)) == []


def test_two_uploads_of_one_key_do_not_mix(shop: Shop) -> None:
    one, two = shop.store.begin_parts("u/big"), shop.store.begin_parts("u/big")
    send(shop, one, 1, b"one")
    send(shop, two, 1, b"two!")
    assert shop.store.finish_parts("u/big", two, shop.store.parts("u/big", two)).size == 4
    assert shop.store.finish_parts("u/big", one, shop.store.parts("u/big", one)).size == 3


def test_forgetting_a_prefix_forgets_its_unfinished_uploads(shop: Shop) -> None:
    inside, outside = shop.store.begin_parts("u/1/über 日本+.mp4"), shop.store.begin_parts("u/10/b")
    second = shop.store.begin_parts("u/1/über 日本+.mp4")
    send(shop, inside, 1, LAST, "u/1/über 日本+.mp4")
    send(shop, outside, 1, LAST, "u/10/b")
    shop.store.put("u/1/whole", b"x")
    assert shop.store.delete_prefix("u/1/") == 1
    for ref in (inside, second):
        with pytest.raises(NotFound):
            shop.store.parts("u/1/über 日本+.mp4", ref)
    assert [part.number for part in shop.store.parts("u/10/b", outside)] == [1]


def test_unfinished_uploads_are_not_listed_as_objects(shop: Shop) -> None:
    ref = shop.store.begin_parts("u/big")
    send(shop, ref, 1, LAST)
    assert list(shop.store.list("")) == []
