"""What each purpose means: how its values are made, how they are exchanged, and who is told outside. One row each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from urllib.parse import unquote, urlsplit

import msgspec

from auricle.adapters.signing.ring import Ring, fresh_ring
from auricle.deploy.secretfiles import fresh_access_key_id, fresh_key, fresh_password
from auricle.deploy.secretobjects import SECRET_FILES
from auricle.runtime.local.identity import setup_code
from auricle_operator.api.managedsecret import ManagedSecretSpec, Purpose
from auricle_operator.outside import AccessKey, Login
from auricle_operator.secrets.rotation import Manner, Step, Strategy
from auricle_operator.world import World

Values = dict[str, bytes]
"""What a Secret holds: key to value."""

PRIVATE, PUBLIC = SECRET_FILES["signing_keys_file"], SECRET_FILES["jwks_file"]
"""The keys of sign-ins: for identity alone, and for everybody."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What a version is made of, besides randomness. `before` holds the values of the version that it replaces, if any."""

    world: World
    tenant: str
    turn: str
    step: Step
    before: Values
    now: datetime

    def __repr__(self) -> str:
        return f"Recipe({self.tenant}, {self.step})"


Told = Callable[[World, str, str, Values], Awaitable[None]]
"""(world, tenant, turn, values): tell a server outside."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One purpose."""

    manner: Manner
    make: Callable[[Recipe], Values]
    admit: Told | None = None
    shut: Told | None = None
    address: Callable[[Recipe], Values] | None = None
    """The values that `before` would be if it were made now: others mean that a server moved."""
    alone: bool = False
    """Whether a tenant has one of it at most: two would take each other's place outside."""
    interrupts: str = ""
    """What exchanging it costs people."""


def row(spec: ManagedSecretSpec) -> Row:
    """How this secret is handled."""
    return COPIED if spec.source.external else ROWS[spec.purpose]


def ring_of(values: Values) -> Ring:
    """The keys of sign-ins; `ValueError` when they are none."""
    return Ring.from_text(values[PRIVATE.key])


def _database(recipe: Recipe) -> Values:
    return {"DATABASE_URL": _url(recipe, fresh_password())}


def _owner(recipe: Recipe) -> Values:
    return {"OWNER_DATABASE_URL": _url(recipe, fresh_password())}


def _moved(recipe: Recipe) -> Values:
    return {key: _url(recipe, _password(recipe.before)) for key in recipe.before}


def _url(recipe: Recipe, password: str) -> bytes:
    return recipe.world.databases.url(recipe.tenant, Login(recipe.turn), password).encode()


def _password(values: Values) -> str:
    """Out of the one URL that they are."""
    (url,) = values.values()
    return unquote(urlsplit(url.decode()).password or "")


async def _admit_login(world: World, tenant: str, turn: str, values: Values) -> None:
    await world.databases.admit(tenant, Login(turn), _password(values))


async def _shut_login(world: World, tenant: str, turn: str, values: Values) -> None:
    await world.databases.shut(tenant, Login(turn))


def _access_key(recipe: Recipe) -> Values:
    return {"S3_ACCESS_KEY_ID": fresh_access_key_id().encode(), "S3_SECRET_ACCESS_KEY": fresh_password().encode()}


async def _admit_key(world: World, tenant: str, turn: str, values: Values) -> None:
    key = AccessKey(id=values["S3_ACCESS_KEY_ID"].decode(), secret=values["S3_SECRET_ACCESS_KEY"].decode())
    await world.stores.admit(world.bucket(tenant), key)


async def _shut_key(world: World, tenant: str, turn: str, values: Values) -> None:
    await world.stores.shut(world.bucket(tenant), values["S3_ACCESS_KEY_ID"].decode())


def _ring(recipe: Recipe) -> Values:
    """With a next key, published ahead of signing as `auricle keys rotate` does it; the first one signs at once."""
    ring = ring_of(recipe.before).rotated(recipe.now) if recipe.before else fresh_ring(recipe.now)
    return {PRIVATE.key: ring.text()}


def _listed(name: str) -> Callable[[Recipe], Values]:
    """Keys with commas: the first is used, all are believed."""

    def make(recipe: Recipe) -> Values:
        known = recipe.before.get(name, b"").split(b",") if recipe.before else []
        fresh = fresh_key().encode()
        if not known:
            return {name: fresh}
        if recipe.step is Step.LEARN:
            known = [known[0], fresh, *known[1:]]
        elif recipe.step is Step.USE:
            known = [*known[1:2], known[0], *known[2:]]
        else:
            known = known[:1]
        return {name: b",".join(known)}

    return make


def _once(name: str, fresh: Callable[[], str], interrupts: str) -> Row:
    def make(recipe: Recipe) -> Values:
        return {name: fresh().encode()}

    return Row(manner=Manner(strategy=Strategy.ONCE), make=make, interrupts=interrupts)


def _never(recipe: Recipe) -> Values:
    raise AssertionError("What somebody else keeps is copied, not made.")


COPIED = Row(manner=Manner(strategy=Strategy.COPY), make=_never)
ROWS: dict[Purpose, Row] = {
    Purpose.DATABASE: Row(
        manner=Manner(strategy=Strategy.EXCHANGE, turns=(Login.A.value, Login.B.value)),
        make=_database,
        admit=_admit_login,
        shut=_shut_login,
        address=_moved,
        alone=True,
    ),
    Purpose.OWNER: Row(
        manner=Manner(strategy=Strategy.REPLACE, turns=(Login.OWNER.value,)),
        make=_owner,
        admit=_admit_login,
        shut=_shut_login,
        address=_moved,
        alone=True,
    ),
    Purpose.BUCKET: Row(manner=Manner(strategy=Strategy.EXCHANGE), make=_access_key, admit=_admit_key, shut=_shut_key),
    Purpose.SIGNING: Row(manner=Manner(strategy=Strategy.RING), make=_ring, alone=True),
    Purpose.EVENTS: _once(
        "EVENT_KEY", fresh_key, "What was signed with the old key is refused: do it when no run is under way."
    ),
    Purpose.GATEWAY: Row(
        manner=Manner(strategy=Strategy.LIST, steps=(Step.LEARN, Step.USE, Step.DROP)), make=_listed("GATEWAY_KEY")
    ),
    Purpose.EPHEMERAL: _once(
        "EPHEMERAL_KEY",
        fresh_key,
        "Limits and locks begin anew, and whoever has ever changed the password signs in again.",
    ),
    Purpose.SEALING: Row(
        # Old keys stay for good: somebody's secret may still be sealed with them.
        manner=Manner(strategy=Strategy.LIST, steps=(Step.LEARN, Step.USE), precious=True),
        make=_listed("SEALING_KEYS"),
    ),
    Purpose.BUCKET_TOKEN: _once(
        "BUCKET_TOKEN",
        fresh_password,
        "The object store's notifications are refused until it is told the new token; they wait on its disk.",
    ),
    Purpose.TIMERS: _once("TIMER_TOKEN", fresh_password, "A tick in between is refused and comes again at its next time."),
    Purpose.SETUP: _once(
        SECRET_FILES["setup_code_file"].key,
        setup_code,
        "The old code makes nobody an owner any more; there may be one already.",
    ),
    Purpose.PROVIDER: COPIED,
}
