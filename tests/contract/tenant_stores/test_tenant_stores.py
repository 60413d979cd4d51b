"""What every store of tenants' buckets does, the one in memory included."""

from __future__ import annotations

import asyncio

import pytest

from auricle.errors import Permanent, Retryable
from auricle_operator.outside import AccessKey, Objects
from builders.tenant_stores import Store

URL = "https://acme.example/"
run = asyncio.run


def test_a_key_that_is_admitted_reads_and_writes_until_it_is_shut(store: Store, bucket: str, first: AccessKey) -> None:
    run(store.stores.ensure(bucket, None, URL))
    assert (store.reads(first, bucket), store.writes(first, bucket)) == (False, False)
    run(store.stores.admit(bucket, first))
    assert (store.reads(first, bucket), store.writes(first, bucket)) == (True, True)
    run(store.stores.shut(bucket, first.id))
    assert (store.reads(first, bucket), store.writes(first, bucket)) == (False, False)


def test_two_keys_work_at_once_until_one_is_shut(store: Store, bucket: str, first: AccessKey, second: AccessKey) -> None:
    run(store.stores.ensure(bucket, None, URL))
    run(store.stores.admit(bucket, first))
    run(store.stores.admit(bucket, second))
    assert store.writes(first, bucket)
    assert store.reads(second, bucket)
    run(store.stores.shut(bucket, first.id))
    assert (store.reads(first, bucket), store.writes(second, bucket)) == (False, True)


def test_a_wrong_secret_is_refused(store: Store, bucket: str, first: AccessKey) -> None:
    run(store.stores.ensure(bucket, None, URL))
    run(store.stores.admit(bucket, first))
    assert not store.reads(AccessKey(id=first.id, secret="another one entirely"), bucket)


def test_no_key_reaches_another_tenants_bucket(
    store: Store, bucket: str, other: str, first: AccessKey, second: AccessKey
) -> None:
    for name, key in ((bucket, first), (other, second)):
        run(store.stores.ensure(name, None, URL))
        run(store.stores.admit(name, key))
    for name, key in ((other, first), (bucket, second)):
        assert (store.reads(key, name), store.writes(key, name)) == (False, False)


def test_a_key_of_another_tenant_is_not_taken_over(store: Store, bucket: str, other: str, first: AccessKey) -> None:
    for name in (bucket, other):
        run(store.stores.ensure(name, None, URL))
    run(store.stores.admit(other, first))
    with pytest.raises(Permanent, match=first.id):
        run(store.stores.admit(bucket, AccessKey(id=first.id, secret="the attacker's own")))
    run(store.stores.shut(bucket, first.id))
    assert store.writes(first, other)


def test_everything_may_be_done_twice(store: Store, bucket: str, first: AccessKey) -> None:
    for _ in range(2):
        run(store.stores.ensure(bucket, 10_000_000, URL))
    for _ in range(2):
        run(store.stores.admit(bucket, first))
    assert store.writes(first, bucket)
    run(store.stores.ensure(bucket, None, URL))
    assert store.reads(first, bucket)
    for _ in range(2):
        run(store.stores.shut(bucket, first.id))
    for _ in range(2):
        run(store.stores.drop(bucket))
    assert run(store.stores.used(bucket)) is None


def test_what_lies_there_is_counted(store: Store, bucket: str, first: AccessKey) -> None:
    run(store.stores.ensure(bucket, None, URL))
    assert run(store.stores.used(bucket)) == Objects(bytes=0, count=0)
    run(store.stores.admit(bucket, first))
    for name in ("uploads/a", "originals/ü b"):
        assert store.writes(first, bucket, name, b"12345")
    assert run(store.stores.used(bucket)) == Objects(bytes=10, count=2)


def test_what_was_dropped_is_empty_when_it_is_made_anew(store: Store, bucket: str, first: AccessKey) -> None:
    run(store.stores.ensure(bucket, None, URL))
    run(store.stores.admit(bucket, first))
    assert store.writes(first, bucket)
    run(store.stores.drop(bucket))
    assert not store.writes(first, bucket)
    run(store.stores.ensure(bucket, None, URL))
    assert not store.reads(first, bucket)
    assert run(store.stores.used(bucket)) == Objects(bytes=0, count=0)
    run(store.stores.admit(bucket, first))
    assert store.writes(first, bucket)


def test_of_a_bucket_that_is_not_there_nothing_is_known(store: Store, bucket: str, first: AccessKey) -> None:
    assert run(store.stores.used(bucket)) is None
    run(store.stores.shut(bucket, first.id))
    run(store.stores.drop(bucket))
    with pytest.raises(Retryable, match=bucket):
        run(store.stores.admit(bucket, first))
