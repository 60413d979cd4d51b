"""What every store's URLs allow, and to whom."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from auricle.errors import NotFound
from auricle.ports.blobs import Audience
from builders.blob_shops import PART, Shop
from builders.blob_web import hang_up, request

BOTH = pytest.mark.parametrize("audience", list(Audience))
DATA = bytes(range(256)) * 40


@BOTH
def test_an_object_is_read_by_its_link(shop: Shop, audience: Audience) -> None:
    blob = shop.store.put("f/one", DATA, "audio/flac")
    answer = shop.request("GET", shop.store.sign_get("f/one", 60, audience))
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["content-type"] == "audio/flac"
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["etag"] == f'"{blob.etag}"'


@BOTH
def test_an_object_is_stored_by_its_link(shop: Shop, audience: Audience) -> None:
    url = shop.store.sign_put("r/one", 60, audience)
    assert shop.request("PUT", url, b"result", {"Content-Type": "application/json"}).status == 200
    blob = shop.store.stat("r/one")
    assert blob is not None
    assert (blob.size, blob.content_type) == (6, "application/json")
    assert shop.request("PUT", url, b"repeated").status == 200
    with shop.store.open("r/one") as reader:
        assert reader.read() == b"repeated"


def test_a_file_name_makes_browsers_save_under_it(shop: Shop) -> None:
    shop.store.put("f/one", DATA)
    name = 'Büro "1"; 日本.mp3'
    answer = shop.request("GET", shop.store.sign_get("f/one", 60, Audience.BROWSER, filename=name))
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith("attachment;")
    assert f"filename*=UTF-8''{quote(name, safe='')}" in disposition
    assert re.search(r'filename="[ -!#-~]*"', disposition)
    plain = shop.request("GET", shop.store.sign_get("f/one", 60, Audience.BROWSER))
    assert "attachment" not in plain.headers.get("content-disposition", "")


def test_names_in_any_script_work_in_links(shop: Shop) -> None:
    key = "drop/me/Über 日本+a b%20&c=d;e'(f).m4a"
    assert shop.request("PUT", shop.store.sign_put(key, 60, Audience.BROWSER), b"x").status == 200
    assert shop.request("GET", shop.store.sign_get(key, 60, Audience.BROWSER)).body == b"x"
    assert [blob.key for blob in shop.store.list("drop/")] == [key]


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-4", 0, 5), ("bytes=5-", 5, 10240), ("bytes=-3", 10237, 10240), ("bytes=10000-99999", 10000, 10240)],
)
def test_a_range_is_served(shop: Shop, asked: str, start: int, end: int) -> None:
    shop.store.put("f/one", DATA)
    answer = shop.request("GET", shop.store.sign_get("f/one", 60, Audience.BROWSER), headers={"Range": asked})
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/10240"
    assert answer.body == DATA[start:end]


def test_a_range_behind_the_end_is_not_satisfiable(shop: Shop) -> None:
    shop.store.put("f/one", DATA)
    url = shop.store.sign_get("f/one", 60, Audience.BROWSER)
    assert shop.request("GET", url, headers={"Range": "bytes=10240-"}).status == 416


def test_reading_what_is_not_there_is_not_found(shop: Shop) -> None:
    assert shop.request("GET", shop.store.sign_get("f/none", 60, Audience.BROWSER)).status == 404


def test_a_link_allows_one_method_only(shop: Shop) -> None:
    shop.store.put("f/one", b"x")
    assert shop.request("PUT", shop.store.sign_get("f/one", 60, Audience.BROWSER), b"y").status == 403
    assert shop.request("GET", shop.store.sign_put("f/one", 60, Audience.BROWSER)).status == 403


def test_expired_links_are_refused(shop: Shop) -> None:
    shop.store.put("f/one", b"x")
    ref = shop.store.begin_parts("f/two")
    # Signatures are backdated by two minutes, so 'lives until 100 s ago' can be said.
    assert shop.request("GET", shop.store.sign_get("f/one", -100, Audience.BROWSER)).status == 403
    assert shop.request("PUT", shop.store.sign_put("f/one", -100, Audience.BROWSER), b"y").status == 403
    assert shop.request("PUT", shop.store.sign_part("f/two", ref, 1, 1, -100), b"y").status == 403
    assert list(shop.store.parts("f/two", ref)) == []
    with shop.store.open("f/one") as reader:
        assert reader.read() == b"x"


def test_without_a_signature_nothing_is_given_or_taken(served: Shop) -> None:
    served.store.put("f/one", b"x")
    for url in (served.store.sign_get("f/one", 60, Audience.BROWSER), served.store.sign_put("f/one", 60, Audience.BROWSER)):
        bare = url.partition("?")[0]
        assert request("GET", bare).status == 403
        assert request("PUT", bare, b"y").status == 403
    assert request("GET", bare.rpartition("/")[0] + "/").status in (403, 404)


def test_a_changed_signature_is_refused(served: Shop) -> None:
    served.store.put("f/one", b"x")
    url = served.store.sign_get("f/one", 60, Audience.BROWSER)
    flipped = url[:-1] + ("0" if url[-1] != "0" else "1")
    assert request("GET", flipped).status == 403
    assert request("GET", url[:-1]).status == 403
    assert request("GET", url).status == 200


def test_a_link_is_for_its_key_only(served: Shop) -> None:
    served.store.put("f/one", b"x")
    served.store.put("f/two", b"y")
    url = served.store.sign_get("f/one", 60, Audience.BROWSER)
    assert request("GET", url.replace("f/one", "f/two")).status == 403
    assert request("GET", url.replace("f/one", "f/x/../two")).status == 403


def test_a_longer_life_cannot_be_written_into_a_link(served: Shop) -> None:
    served.store.put("f/one", b"x")
    url = served.store.sign_get("f/one", 60, Audience.BROWSER)
    longer = re.sub(r"(?i)(expires=)\d+", r"\g<1>99999", url)
    assert longer != url
    assert request("GET", longer).status == 403


def test_another_file_name_cannot_be_written_into_a_link(served: Shop) -> None:
    served.store.put("f/one", b"x")
    url = served.store.sign_get("f/one", 60, Audience.BROWSER, filename="minutes.mp3")
    assert request("GET", url.replace("minutes", "virus")).status == 403


def test_a_part_of_another_size_or_number_is_refused(served: Shop) -> None:
    ref = served.store.begin_parts("f/big")
    url = served.store.sign_part("f/big", ref, 1, 1000, 60)
    for wrong in (b"x" * 999, b"x" * 1001, b""):
        assert request("PUT", url, wrong).status in (400, 403, 411, 413, 422)
    assert request("PUT", re.sub(r"(?i)(part(number)?=)1", r"\g<1>2", url), b"x" * 1000).status == 403
    assert request("PUT", url.replace("1000", "1001"), b"x" * 1001).status in (403, 413)
    assert list(served.store.parts("f/big", ref)) == []
    assert request("PUT", url, b"x" * 1000).status == 200
    assert [part.size for part in served.store.parts("f/big", ref)] == [1000]


@pytest.mark.parametrize("kind", [None, "application/octet-stream", "video/mp4", "application/x-www-form-urlencoded"])
def test_a_part_needs_no_header_of_its_own(served: Shop, kind: str | None) -> None:
    ref = served.store.begin_parts("f/big", "video/mp4")
    headers = {} if kind is None else {"Content-Type": kind}
    assert request("PUT", served.store.sign_part("f/big", ref, 1, 4, 60), b"part", headers).status == 200
    assert served.store.finish_parts("f/big", ref, list(served.store.parts("f/big", ref))).content_type == "video/mp4"


def test_a_client_that_dies_in_the_middle_of_a_part_leaves_none(served: Shop) -> None:
    ref = served.store.begin_parts("f/big")
    url = served.store.sign_part("f/big", ref, 1, PART, 60)
    hang_up(url, PART, b"x" * (PART // 2))
    assert list(served.store.parts("f/big", ref)) == []
    hang_up(url, PART, b"")
    assert list(served.store.parts("f/big", ref)) == []
    assert request("PUT", url, b"y" * PART).status == 200
    assert [part.size for part in served.store.parts("f/big", ref)] == [PART]


def test_a_client_that_dies_does_not_harm_the_part_that_was_there(served: Shop) -> None:
    ref = served.store.begin_parts("f/big")
    url = served.store.sign_part("f/big", ref, 1, 100_000, 60)
    assert request("PUT", url, b"y" * 100_000).status == 200
    before = list(served.store.parts("f/big", ref))
    hang_up(url, 100_000, b"z" * 50_000)
    assert list(served.store.parts("f/big", ref)) == before


def test_a_client_that_dies_in_the_middle_of_an_object_leaves_the_old_one(served: Shop) -> None:
    hang_up(served.store.sign_put("f/new", 60, Audience.POD), 100_000, b"x" * 50_000)
    with pytest.raises(NotFound):
        served.store.open("f/new")
    old = served.store.put("f/old", b"old")
    hang_up(served.store.sign_put("f/old", 60, Audience.POD), 100_000, b"x" * 50_000)
    assert served.store.stat("f/old") == old
