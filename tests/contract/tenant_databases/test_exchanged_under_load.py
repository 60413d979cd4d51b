"""A tenant's password is exchanged while functions keep connecting: none is refused, and then the old one is."""

from __future__ import annotations

import asyncio
import threading
from urllib.parse import urlsplit

import msgspec
import pytest
from pg8000.exceptions import DatabaseError

from auricle_operator.api.managedsecret import Purpose
from builders.operator_secrets import PLACE, SecretHouse
from builders.tenant_databases import PostgresSite

SERVICES = ("files", "runs", "people", "search")


class Load:
    """One thread for each function, connecting anew all the time with what its ready revision has."""

    def __init__(self, house: SecretHouse, name: str, site: PostgresSite) -> None:
        self.house, self.name, self.site = house, name, site
        self.entered: dict[tuple[str, int], int] = {}  # (service, version) -> times
        self.refused: list[str] = []
        self._ends = threading.Event()
        self._moved = threading.Condition()
        self._threads = [threading.Thread(target=self._work, args=(service,)) for service in SERVICES]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def until_all_entered(self, version: int, more: int = 3) -> None:
        """Until each function has connected a few times more with `version`."""
        with self._moved:
            wanted = {service: self.entered.get((service, version), 0) + more for service in SERVICES}
            assert self._moved.wait_for(
                lambda: self.refused or all(self.entered.get((s, version), 0) >= times for s, times in wanted.items()), 60
            )

    def _work(self, service: str) -> None:
        while not self._ends.is_set():
            version = self.house.serving[service]
            try:
                enter(self.site, self.house.version(self.name, version))
                entered = True
            except DatabaseError as error:
                entered = False
                self.refused.append(f"{service} with version {version}: {error}")
            with self._moved:
                if entered:
                    self.entered[service, version] = self.entered.get((service, version), 0) + 1
                self._moved.notify_all()


def enter(site: PostgresSite, values: dict[str, bytes]) -> None:
    """As whoever the Secret's URL says."""
    url = urlsplit(values["DATABASE_URL"].decode())
    with site.as_role(url.username or "", url.password or "", url.path[1:]) as session:
        session.run("select 1")


def test_nobody_is_refused_while_a_password_is_exchanged_and_then_the_old_one_is(postgres: PostgresSite) -> None:
    house = SecretHouse()
    house.world = msgspec.structs.replace(house.world, databases=postgres.databases)
    asyncio.run(postgres.databases.ensure("acme"))
    name = house.keep(Purpose.DATABASE)
    house.look(name)
    house.follow(name, *SERVICES)
    with Load(house, name, postgres) as load:
        for version in (1, 2, 3):
            load.until_all_entered(version)
            house.ask(name, f"exchange {version}")
            house.look(name)
            for service in SERVICES:  # one after the other
                house.follow(name, service)
                house.look(name)
            load.until_all_entered(version + 1)
            house.later(hours=25)
            house.look(name)
            load.until_all_entered(version + 1)
            with pytest.raises(DatabaseError) as refusal:
                enter(postgres, house.version(name, version))
            assert refusal.value.args[0]["C"] in ("28P01", "28000")
    assert not load.refused
    assert sum(load.entered.values()) >= 4 * 3 * 4
    assert list(house.secrets(PLACE)) == ["auricle-database-v4"]
