"""What administrators set holds before the environment, secrets are sealed, and two who change it at once do not lose one."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy import text

from auricle.admin.configuration.actions import Configuration
from auricle.admin.configuration.model import MOST_AGE, Section
from auricle.admin.configuration.store import ConfigurationStore
from auricle.contract.ids import uuid7
from auricle.contract.store import Units
from auricle.errors import Conflict, Permanent, Retryable
from auricle.ports.sealing import Sealing
from builders.house import House, house


class Lamp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    watts: int = 40


LAMP = Section("lamp", Lamp)
DEFAULT = Lamp(watts=7)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(home: House, clock: Clock) -> Iterator[Configuration]:
    wiring = home.bound.wiring
    yield Configuration(wiring.provide(Units), lambda: wiring.provide(Sealing), clock)
    with wiring.database.work() as db:
        db.execute(text("delete from configuration"))


def test_what_is_set_holds_before_the_default(home: House, kept: Configuration) -> None:
    assert kept.of(LAMP, DEFAULT) == DEFAULT
    me = uuid7()
    with home.bound.wiring.database.work() as db:
        kept.put(db, LAMP, Lamp(watts=60), None, me, expected=0)
    held = kept.held(LAMP)
    assert held is not None
    assert (held.value.watts, held.version, held.changed_by) == (60, 1, me)
    assert kept.of(LAMP, DEFAULT).watts == 60
    with home.bound.wiring.database.work() as db:
        assert kept.drop(db, LAMP)
    assert kept.of(LAMP, DEFAULT) == DEFAULT


def test_a_secret_is_sealed_and_opens_for_its_own_section_only(home: House, kept: Configuration) -> None:
    with home.bound.wiring.database.work() as db:
        kept.put(db, LAMP, Lamp(), "hunter2", None, id="desk", expected=None)
        kept.put(db, LAMP, Lamp(), None, None, id="floor", expected=None)
        rows = db.execute(text("select name, sealed from configuration order by name")).all()
        assert [row.name for row in rows] == ["lamp:desk", "lamp:floor"]
        assert b"hunter2" not in bytes(rows[0].sealed)
    assert (kept.secret(LAMP, "desk"), kept.secret(LAMP, "floor"), kept.secret(LAMP, "none")) == ("hunter2", None, None)
    assert list(kept.all(LAMP)) == ["desk", "floor"]
    with home.bound.wiring.database.work() as db:
        db.execute(text("update configuration set sealed = :sealed where name = 'lamp:floor'"), {"sealed": rows[0].sealed})
    kept.forget()
    with pytest.raises(Permanent):
        kept.secret(LAMP, "floor")


def test_a_change_made_elsewhere_holds_here_within_seconds(home: House, kept: Configuration, clock: Clock) -> None:
    assert kept.of(LAMP, DEFAULT) == DEFAULT
    with home.bound.wiring.database.work() as db:
        ConfigurationStore(db).put("lamp", b'{"watts":90}', None, None, None)
    clock.now = MOST_AGE - 0.1
    kept.fresh()
    assert kept.of(LAMP, DEFAULT) == DEFAULT
    clock.now = MOST_AGE
    kept.fresh()
    assert kept.of(LAMP, DEFAULT).watts == 90


def test_who_changes_what_somebody_else_has_changed_is_told(home: House, kept: Configuration) -> None:
    with home.bound.wiring.database.work() as db:
        kept.put(db, LAMP, Lamp(watts=1), None, None, expected=0)
        kept.put(db, LAMP, Lamp(watts=2), None, None, expected=1)
    for stale in (0, 1, 3):
        with pytest.raises(Conflict), home.bound.wiring.database.work() as db:
            kept.put(db, LAMP, Lamp(watts=3), None, None, expected=stale)
    assert kept.of(LAMP, DEFAULT).watts == 2


def test_what_cannot_be_read_is_an_error_and_never_the_default(
    home: House, kept: Configuration, caplog: pytest.LogCaptureFixture
) -> None:
    with home.bound.wiring.database.work() as db:
        ConfigurationStore(db).put("lamp", b'{"watts":"many"}', None, None, None)
    with pytest.raises(Retryable) as told:
        kept.of(LAMP, DEFAULT)
    assert "lamp" not in str(told.value)  # strangers may read it
    assert "PUT /api/settings/lamp" in caplog.text
