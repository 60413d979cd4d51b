"""Ticks: which timers they fire, and whom the door believes."""

from __future__ import annotations

import base64
import json

import pytest
from flask import Flask, Request
from werkzeug.test import EnvironBuilder

from auricle.runtime.settings import Settings
from auricle.runtime.timerdoor import TimerDoor
from auricle.runtime.wiring import Wiring

TOKEN = "a schedule's token"


class Recording(TimerDoor):
    """Remembers what it would have run; `broken` timers fail."""

    def __init__(self, token: str, broken: tuple[str, ...] = ()) -> None:
        super().__init__({}, Wiring(Settings(timer_token=token)))
        self.ran: list[str] = []
        self._broken = broken

    def run(self, name: str) -> None:
        self.ran.append(name)
        if name in self._broken:
            raise RuntimeError(name)


def tick(door: TimerDoor, data: dict[str, object], ticket: str | None = None) -> int:
    headers = {"ce-id": "1", "ce-source": "/ping", "ce-type": "dev.knative.sources.ping", "ce-specversion": "1.0"}
    if ticket is not None:
        headers["ce-ticket"] = ticket
    builder = EnvironBuilder(
        method="POST", path="/events/timers", headers=headers, data=json.dumps(data), content_type="application/json"
    )
    with Flask("test").app_context():
        return door(Request(builder.get_environ())).status_code


@pytest.mark.parametrize("ticket", [TOKEN, base64.b64encode(TOKEN.encode()).decode()])
def test_one_schedule_fires_all_its_timers(ticket: str) -> None:
    door = Recording(TOKEN)
    assert tick(door, {"timers": ["sweep", "forget"]}, ticket) == 204
    assert door.ran == ["sweep", "forget"]


@pytest.mark.parametrize("ticket", [None, "", "another", base64.b64encode(b"another").decode()])
def test_a_tick_without_our_ticket_makes_nothing_act(ticket: str | None) -> None:
    door = Recording(TOKEN)
    assert tick(door, {"timers": ["sweep"]}, ticket) == 500
    assert door.ran == []


def test_a_timer_that_fails_keeps_no_other_from_running() -> None:
    door = Recording("", broken=("sweep",))
    assert tick(door, {"timers": ["sweep", "forget"]}) == 500
    assert door.ran == ["sweep", "forget"]
