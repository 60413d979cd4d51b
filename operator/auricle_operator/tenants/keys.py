"""Which secrets a tenant has: a ManagedSecret each, named after its purpose."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from auricle.deploy.secretobjects import SECRET_FILES, SECRET_OBJECTS
from auricle_operator.api.managedsecret import KIND, Purpose
from auricle_operator.api.rules import API_VERSION
from auricle_operator.cluster import Manifest


class Key(msgspec.Struct, frozen=True):
    """One secret: `always` those that the database and the bucket need, the others only with functions."""

    purpose: Purpose
    secret: str
    always: bool = False


class Exchange(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """How often a plan exchanges one (Go durations); left out: only when asked."""

    interval: str | None = None
    overlap: str | None = None
    longest_url: str | None = None


KEYS: tuple[Key, ...] = (
    Key(Purpose.DATABASE, SECRET_OBJECTS["database_url"], True),
    Key(Purpose.OWNER, "auricle-owner", True),
    Key(Purpose.BUCKET, SECRET_OBJECTS["s3_access_key_id"], True),
    Key(Purpose.SIGNING, SECRET_FILES["signing_keys_file"].secret),
    Key(Purpose.EVENTS, SECRET_OBJECTS["event_key"]),
    Key(Purpose.GATEWAY, SECRET_OBJECTS["gateway_key"]),
    Key(Purpose.EPHEMERAL, SECRET_OBJECTS["ephemeral_key"]),
    Key(Purpose.SEALING, SECRET_OBJECTS["sealing_keys"]),
    Key(Purpose.BUCKET_TOKEN, SECRET_OBJECTS["bucket_token"]),
    Key(Purpose.TIMERS, SECRET_OBJECTS["timer_token"]),
    Key(Purpose.SETUP, SECRET_FILES["setup_code_file"].secret),
)


def managed_secret(key: Key, namespace: str, exchange: Mapping[str, Exchange]) -> Manifest:
    """The ManagedSecret of `key`; `exchange`: purpose to how often, by the plan."""
    often = msgspec.to_builtins(exchange.get(key.purpose.value, Exchange()))
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": key.purpose.value, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "auricle"}},
        "spec": {"purpose": key.purpose.value, "secret": key.secret, "source": {"generate": {}}, **often},
    }
