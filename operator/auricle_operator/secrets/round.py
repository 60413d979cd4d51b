"""One reconcile of one managed secret: look, do the next thing until there is none, write down what is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec

from auricle.deploy.lint.places import go_seconds
from auricle.errors import AuricleError, Permanent, Retryable
from auricle.ports.signing import KeySet
from auricle_operator.api.conditions import stamp
from auricle_operator.api.managedsecret import ROTATE, ManagedSecretSpec, ManagedSecretStatus, Purpose
from auricle_operator.api.rules import as_applied
from auricle_operator.cluster import JOB, KSERVICE, SECRET, SECRETS, TENANT, Manifest
from auricle_operator.secrets import objects, report, rings, rotation
from auricle_operator.secrets.consumers import at_work, consumers
from auricle_operator.secrets.objects import FAMILY, Family, Held, as_it_should_be, digest_of, number_in, values_of
from auricle_operator.secrets.purposes import Recipe, Values, ring_of, row
from auricle_operator.secrets.report import Problem
from auricle_operator.secrets.rotation import Action, Drop, HandOut, Make, Note, Revive, Seen, Shut, Strategy, TakeBack, Version
from auricle_operator.world import World

SHARED = "auricle.dev/shared"
"""Label of a Secret in the operator's namespace that every tenant may be given (`true`)."""


STEPS = 50
"""Of one round. An exchange needs about five; two that undo each other shall not hold the operator."""


class Round:
    """For `reconcile`: what it saw, and what it did since."""

    def __init__(self, world: World, family: Family, spec: ManagedSecretSpec, before: ManagedSecretStatus) -> None:
        self._world = world
        self._family = family
        self._spec = spec
        self._row = row(spec)
        self._status = before  # as it was last written
        self._now = world.now()
        self._values: dict[int, Values] = {}
        self._copies: dict[str, Manifest] = {}
        self._source: Values = {}
        self._told: list[tuple[str, str]] = []
        self._seen = Seen(manner=self._row.manner, versions=(), now=self._now)

    async def run(self) -> float | None:
        """Seconds until it wants to be called again. `Retryable` once the status says what is waited for."""
        await self._look()
        try:
            await self._until_done()
            if not self._seen.published and report.at_work(self._seen) is not None:
                await self._write(None)  # consumers can follow only from here on
                self._publish()
                await self._until_done()
            await self._write(None)
        except Retryable as error:
            await self._write(Problem("Waiting", str(error)))
            raise
        except AuricleError as error:
            await self._write(Problem("Refused", str(error)))
            return None
        for reason, message in self._told:
            await self._world.cluster.tell(self._family.owner, reason, message)
        return rings.ring_delay(self._seen, self._keys) if self._is_ring else rotation.delay(self._seen)

    # Looking.

    async def _look(self) -> None:
        cluster, family = self._world.cluster, self._family
        masters = await cluster.list(SECRET, family.home, {TENANT: family.tenant, FAMILY: family.secret})
        copies = await cluster.list(SECRET, family.namespace, {FAMILY: family.secret})
        held = {h.version.number: h for h in map(family.read, masters) if h is not None}
        for found in copies:
            if (again := self._recovered(found, held)) is not None:
                await self._put(family.master(again))
                held[again.version.number] = again
        self._values = {number: h.values for number, h in held.items()}
        self._copies = {c["metadata"]["name"]: c for c in copies}
        versions = tuple(self._with_copy(held[number]) for number in sorted(held))
        numbers = [self._number(m) for m in (*masters, *copies)]
        self._seen = Seen(
            manner=self._row.manner,
            versions=versions,
            highest=max([*numbers, self._status.version, *(k.number for k in self._status.versions)]),
            wanted=family.owner["metadata"].get("annotations", {}).get(ROTATE, ""),
            source=await self._look_at_source(),
            interval=_duration(self._spec.interval),
            overlap=self._overlap(),
            now=self._now,
        )
        self._publish()
        self._seen = msgspec.structs.replace(self._seen, outdated=self._outdated())
        if not self._is_ring and not rotation.settled(self._seen):
            await self._look_at_consumers()

    async def _look_at_consumers(self) -> None:
        """Only while it matters: most of the time nothing is going on."""
        cluster, family = self._world.cluster, self._family
        found = consumers(await cluster.list(KSERVICE, family.namespace), family.secret, self._spec.consumers)
        replaced = self._row.manner.strategy is Strategy.REPLACE
        busy = at_work(await cluster.list(JOB, family.namespace), family.secret) if replaced else ()
        highest = max([self._seen.highest, *(number for consumer in found for number in consumer.names)])
        self._seen = msgspec.structs.replace(self._seen, consumers=found, busy=busy, highest=highest)

    async def _look_at_source(self) -> str:
        """What somebody else keeps for this tenant. Nobody gets another's, or a master, by naming it."""
        external = self._spec.source.external
        if external is None:
            return ""
        found = await self._world.cluster.get(SECRET, external.name, self._family.home)
        labels = (found or {}).get("metadata", {}).get("labels", {})
        allowed = labels.get(TENANT) == self._family.tenant or labels.get(SHARED) == "true"
        if found is None or not allowed or FAMILY in labels:
            return ""
        self._source = values_of(found)
        return digest_of(self._source) if self._source else ""

    def _recovered(self, found: Manifest, held: Mapping[int, Held]) -> Held | None:
        """A version whose master is lost, from the tenant's copy: if that is whole, and none that is being taken away."""
        again = self._family.read(found)
        if again is None or again.version.number in held or "deletionTimestamp" in found["metadata"]:
            return None
        place = self._family.secret if self._is_ring else self._family.copy_name(again.version.number)
        if found["metadata"]["name"] != place:
            return None
        return Held(version=msgspec.structs.replace(again.version, asked=self._status.asked), values=again.values)

    def _number(self, manifest: Manifest) -> int:
        name: str = manifest["metadata"]["name"]
        return number_in(name.removeprefix(f"{self._family.tenant}.").replace(".v", "-v"), self._family.secret) or 0

    def _with_copy(self, held: Held) -> Version:
        wanted = self._family.in_place(held, self._now)[1] if self._is_ring else self._family.copy(held)
        found = self._copies.get(wanted["metadata"]["name"])
        return msgspec.structs.replace(held.version, copied=found is not None and as_it_should_be(found, wanted))

    def _outdated(self) -> bool:
        newest = self._seen.newest
        if newest is None or self._row.address is None:
            return False
        values = self._values[newest.number]
        return self._row.address(self._recipe(newest.step, newest.turn, values)) != values

    def _publish(self) -> None:
        """Whether consumers are told of the newest, as far as the status that was last written goes."""
        current, newest = report.at_work(self._seen), self._seen.newest
        told = (
            newest is not None and current == newest and self._status.current == report.current_name(self._seen, self._family)
        )
        self._seen = msgspec.structs.replace(self._seen, published=told)

    # Doing.

    async def _until_done(self) -> None:
        for _ in range(STEPS):
            action = self._next()
            if action is not None:
                await self._do(action)
            elif not await self._keep():
                return
        raise Retryable("The exchange goes round in circles; it is looked at again.")

    def _next(self) -> Action | None:
        if not self._is_ring:
            return rotation.next_action(self._seen)
        newest = self._seen.newest
        return rings.next_ring_action(self._seen, self._keys, newest is not None and newest.copied)

    async def _do(self, action: Action) -> None:
        match action:
            case Make():
                await self._make(action)
            case Drop():
                await self._drop(action)
            case HandOut(number):
                moment = objects.rounded_up(self._now)
                await self._mark(number, {objects.HANDED_OUT: stamp(moment)}, handed_out=moment)
                if self._seen.older:
                    self._told.append(("HandedOut", f"Everybody has version {number}."))
            case TakeBack(number):
                await self._mark(number, {objects.HANDED_OUT: None}, handed_out=None)
            case Note(number):
                await self._mark(number, {objects.ASKED: self._seen.wanted}, asked=self._seen.wanted)
            case Shut(number):
                await self._mark(number, {objects.SHUT: stamp(self._now)}, shut=self._now)
            case Revive(number):
                await self._mark(number, {objects.SHUT: None}, shut=None, copied=False)

    async def _make(self, action: Make) -> None:
        newest = self._seen.newest
        recipe = self._recipe(action.step, action.turn, self._values[newest.number] if newest else {})
        values = self._source if self._row.manner.strategy is Strategy.COPY else self._row.make(recipe)
        going_on = newest is not None and action.step is not self._row.manner.steps[0]
        version = Version(
            number=action.number,
            created=self._now,
            digest=digest_of(values),
            step=action.step,
            turn=action.turn,
            # Who asks while a later step is still to come asks for the next exchange.
            asked=newest.asked if newest and going_on else self._seen.wanted,
        )
        there = self._family.read(await self._world.cluster.create(self._family.master(Held(version=version, values=values))))
        if there is None:
            name = self._family.master_name(action.number)
            raise Permanent(f"The Secret {name} in {self._family.home} is not whole. Restore or delete it.")
        self._values[action.number] = there.values
        versions = tuple(sorted((*self._seen.versions, there.version), key=lambda v: v.number))
        self._seen = msgspec.structs.replace(
            self._seen, versions=versions, highest=action.number, published=False, outdated=False
        )
        self._told.append(("Made", f"Version {action.number}: {action.why}."))

    async def _drop(self, action: Drop) -> None:
        cluster, family = self._world.cluster, self._family
        version = next(v for v in self._seen.versions if v.number == action.number)
        if action.revoke and self._row.shut is not None:
            await self._row.shut(self._world, family.tenant, version.turn, self._values[version.number])
            self._told.append(("Shut", f"Version {version.number} works no more."))
        if not self._is_ring:  # before the master: a copy without one is taken for what is left of it
            await cluster.delete(SECRET, family.copy_name(version.number), family.namespace)
        await cluster.delete(SECRET, family.master_name(version.number), family.home)
        left = tuple(v for v in self._seen.versions if v != version)
        self._seen = msgspec.structs.replace(self._seen, versions=left)

    async def _mark(self, number: int, annotations: dict[str, str | None], **changes: object) -> None:
        patch = {"metadata": {"annotations": annotations}}
        name = self._family.master_name(number)
        if await self._world.cluster.merge(SECRET, name, self._family.home, patch) is None:
            raise Retryable(f"The Secret {name} went away just now.", delay=1)
        self._change(number, **changes)

    async def _keep(self) -> bool:
        """See to it that each version which may work does, and that its tenant has it; whether there was anything to do."""
        seen = self._seen
        if self._is_ring:
            return await self._keep_ring()
        for version in seen.versions:
            if version.copied or version.shut is not None or seen.superseded(version):
                continue
            values = self._values[version.number]
            if self._row.admit is not None:
                await self._row.admit(self._world, self._family.tenant, version.turn, values)
            await self._put(self._family.copy(Held(version=version, values=values)))
            self._change(version.number, copied=True)
            return True
        return False

    async def _keep_ring(self) -> bool:
        newest = self._seen.newest
        if newest is None:
            return False
        held = Held(version=newest, values=self._values[newest.number])
        for wanted in self._family.in_place(held, self._now):  # published before it can sign
            await self._renew(wanted)
        self._change(newest.number, copied=True)
        return not newest.copied

    async def _put(self, wanted: Manifest) -> None:
        """A Secret that cannot be changed: one that is there and says something else makes room."""
        cluster, metadata = self._world.cluster, wanted["metadata"]
        if as_it_should_be(await cluster.create(wanted), wanted):
            return
        await cluster.delete(SECRET, metadata["name"], metadata["namespace"])
        if not as_it_should_be(await cluster.create(wanted), wanted):
            raise Retryable(f"The Secret {metadata['name']} is still being deleted.", delay=2)

    async def _renew(self, wanted: Manifest) -> None:
        """A Secret that stays in place, because pods have it mounted."""
        cluster, metadata = self._world.cluster, wanted["metadata"]
        found = self._copies.get(metadata["name"])
        if found is not None and as_it_should_be(found, wanted):
            return
        if found is not None and (found.get("immutable") or set(found.get("data", {})) - set(wanted["data"])):
            await cluster.delete(SECRET, metadata["name"], metadata["namespace"])  # somebody else's doing, which apply keeps
        self._copies[metadata["name"]] = await cluster.apply(wanted)

    # Telling.

    async def _write(self, problem: Problem | None) -> None:
        metadata = self._family.owner["metadata"]
        status = report.described(
            self._seen,
            self._row,
            self._family,
            keys=self._keys,
            before=self._status,
            generation=metadata.get("generation", 0),
            problem=problem,
        )
        if status != self._status:
            await self._world.cluster.status(SECRETS, metadata["name"], metadata["namespace"], as_applied(status))
            self._status = status

    @property
    def _is_ring(self) -> bool:
        return self._row.manner.strategy is Strategy.RING

    @property
    def _keys(self) -> KeySet | None:
        newest = self._seen.newest
        return ring_of(self._values[newest.number]).public if self._is_ring and newest else None

    def _recipe(self, step: rotation.Step, turn: str, before: Values) -> Recipe:
        return Recipe(world=self._world, tenant=self._family.tenant, turn=turn, step=step, before=before, now=self._now)

    def _overlap(self) -> timedelta:
        overlap = _duration(self._spec.overlap) or timedelta(0)
        if self._spec.purpose is not Purpose.BUCKET:
            return overlap
        return max(overlap, _duration(self._spec.longest_url) or timedelta(0))  # signed URLs die with their key

    def _change(self, number: int, **changes: object) -> None:
        versions = tuple(msgspec.structs.replace(v, **changes) if v.number == number else v for v in self._seen.versions)
        self._seen = msgspec.structs.replace(self._seen, versions=versions)


def _duration(text: str | None) -> timedelta | None:
    seconds = go_seconds(text) if text else None
    return None if seconds is None else timedelta(seconds=seconds)
