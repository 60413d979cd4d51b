"""Secrets are exchanged while people work: not one request fails, and what was exchanged opens nothing afterwards."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import ClientError
from sqlalchemy import exc, text

from auricle.runtime.database import engine_for
from cluster.deployment import auricle, objects, until
from cluster.operator.servers import Servers
from cluster.operator.vaults import Vault

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]


@dataclass
class Load:
    """What several people do all the time; `answers` counts statuses, `failed` says what was not well."""

    stop: threading.Event = field(default_factory=threading.Event)
    answers: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def repeat(self, what: str, act: Callable[[], int], pause: float) -> None:
        """Until it is over."""
        while not self.stop.is_set():
            try:
                status = act()
            except urllib3.exceptions.HTTPError as error:
                self.failed.append(f"{what}: {error!r}")
            else:
                self.answers[f"{what} {status}"] += 1
                if status >= 400:
                    self.failed.append(f"{what}: {status}")
            self.stop.wait(pause)


@contextlib.contextmanager
def under_load(vault: Vault, store: str) -> Iterator[Load]:
    """Reads that ask the database, and uploads whose parts go to the store by signed URLs."""
    token = {"Authorization": f"Bearer {vault.owner_token()}", "Content-Type": "application/json"}
    direct = urllib3.PoolManager(retries=False)

    def read() -> int:
        return int(vault.ask("GET", "/api/files", headers=token).status)

    def upload() -> int:
        body = json.dumps({"name": f"{secrets.token_hex(4)}.flac", "size": 5}).encode()
        began = vault.ask("POST", "/api/uploads", body, token)
        if began.status >= 400:
            return int(began.status)
        (part,) = json.loads(began.data)["parts"]
        put = direct.request("PUT", part["url"], body=b"fLaC.")
        if put.status >= 400:
            return int(put.status)
        return int(vault.ask("DELETE", f"/api/uploads/{json.loads(began.data)['id']}", headers=token).status)

    until("the vault is awake", lambda: read() == 200, 180)
    until("uploads are awake", lambda: upload() < 300, 180)
    load = Load()
    # Slowly enough for the limits that one person's requests have (10 reads and 2 uploads a second would be refused).
    paces = (("read", read, 0.3), ("read", read, 0.3), ("upload", upload, 1.0))
    threads = [threading.Thread(target=load.repeat, args=each) for each in paces]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop.set()
        for thread in threads:
            thread.join(60)


def managed(vault: Vault, purpose: str) -> dict[str, Any]:
    found: dict[str, Any] = objects("managedsecret", purpose, "-n", vault.namespace)[0]["status"]
    return found


def exchanged(vault: Vault, purpose: str, seconds: float = 600) -> float:
    """Ask for it and wait until the old one is shut; seconds."""
    before, began = managed(vault, purpose)["version"], time.monotonic()
    auricle("tenants", "rotate", vault.tenant, purpose)

    def done() -> bool:
        now = managed(vault, purpose)
        return bool(now["version"] > before and now["state"] == "Stable")

    until(f"{purpose} is exchanged", done, seconds, 1)
    return time.monotonic() - began


def enters(url: str) -> bool:
    engine = engine_for(url, 1)
    try:
        with engine.connect() as connection:
            return bool(connection.execute(text("select 1")).scalar())
    except (exc.SQLAlchemyError, OSError):
        return False
    finally:
        engine.dispose()


def opens(servers: Servers, bucket: str, key: dict[str, str]) -> bool:
    client = boto3.client(
        "s3",
        endpoint_url=servers.store.url,
        region_name="us-east-1",
        aws_access_key_id=key["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=key["S3_SECRET_ACCESS_KEY"],
        config=Config(retries={"max_attempts": 1}),
    )
    try:
        client.list_objects_v2(Bucket=bucket, Prefix="uploads/")
    except ClientError:
        return False
    return True


def test_the_databases_password_is_exchanged_under_load(acme: Vault, servers: Servers) -> None:
    old = acme.secret("database")["DATABASE_URL"]
    assert enters(old)
    with under_load(acme, servers.store.url) as load:
        seconds = exchanged(acme, "database")
        time.sleep(5)
    print(f"database: {seconds:.0f} s, {dict(load.answers)}")
    assert load.failed == []
    assert load.answers["read 200"] > 50
    assert not enters(old)
    assert enters(acme.secret("database")["DATABASE_URL"])


def test_the_buckets_key_is_exchanged_under_load(acme: Vault, servers: Servers) -> None:
    old = acme.secret("bucket")
    assert opens(servers, acme.namespace, old)
    with under_load(acme, servers.store.url) as load:
        seconds = exchanged(acme, "bucket")
        time.sleep(5)
    print(f"bucket: {seconds:.0f} s, {dict(load.answers)}")
    assert load.failed == []
    assert sum(count for what, count in load.answers.items() if what.startswith("upload")) > 10
    assert not opens(servers, acme.namespace, old)
    assert opens(servers, acme.namespace, acme.secret("bucket"))


def signed_in(vault: Vault) -> dict[str, str]:
    """The first owner's headers, by the code that `kubectl auricle setup-code` prints."""
    code = auricle("tenants", "setup-code", vault.tenant).strip()
    who = {"email": "ada@acme.example", "display_name": "Ada", "password": f"Correct-horse-{secrets.token_hex(8)}"}
    body = json.dumps({"code": code, **who}).encode()
    answer = vault.ask("POST", "/api/setup", body, {"Content-Type": "application/json"})
    assert answer.status == 201, answer.data
    return {"Authorization": f"Bearer {json.loads(answer.data)['access_token']}"}


def published(vault: Vault) -> set[str]:
    """The keys that anybody may verify with."""
    return {key["kid"] for key in json.loads(vault.ask("GET", "/.well-known/jwks.json").data)["keys"]}


def test_the_next_signing_key_is_published_before_it_signs_and_nobody_is_signed_out(acme: Vault) -> None:
    """That it signs an hour later, and that the old one verifies until its last token has ended, is shown with moved clocks in
    tests/operator/test_secret_rings.py: nobody waits for it here."""
    until("identity is awake", lambda: acme.ask("GET", "/.well-known/jwks.json").status == 200, 180)
    headers, before = signed_in(acme), published(acme)
    load = Load()
    ask = lambda: int(acme.ask("GET", "/api/me", headers=headers).status)  # noqa: E731
    thread = threading.Thread(target=load.repeat, args=("me", ask, 0.3))
    thread.start()
    try:
        auricle("tenants", "rotate", acme.tenant, "signing")
        until("the next key is published", lambda: len(published(acme)) == len(before) + 1, 300, 2)
        time.sleep(20)  # and every function has seen it, which changes nothing for tokens that there are
    finally:
        load.stop.set()
        thread.join(60)
    assert before < published(acme)
    assert load.failed == []
    assert load.answers["me 200"] > 20
