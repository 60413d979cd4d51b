"""A suspended deployment: nobody is answered, before anything is asked of the database; what is under way ends and is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from click.testing import CliRunner
from werkzeug.test import EnvironBuilder

from auricle.cli import main as command_line
from auricle.cli.client import Server, ServerError
from auricle.contract.function import registry
from auricle.deploy.openapi import document
from builders.deployments import told
from builders.house import House, house
from builders.house_door import open_door
from builders.recordings import GOOD
from builders.scripted_http import Line, playing

SENTENCE = "This vault is suspended. Its administrator can say why, and for how long; nothing that is in it is lost."
ID = "0190a000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url) as made:
        yield made


@pytest.fixture
def no_database(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a unit of work is caught."""

    def work() -> None:
        raise AssertionError("the database is asked")

    monkeypatch.setattr(home.bound.wiring.database, "work", work)


def ask(home: House, method: str, path: str) -> flask.Response:
    builder = EnvironBuilder(method=method, path=path, headers={"Authorization": f"Bearer {home.token}"})
    with flask.Flask("suspended").app_context():
        answer = home.bound(flask.Request(builder.get_environ()))
    assert isinstance(answer, flask.Response)
    return answer


@pytest.mark.usefixtures("no_database")
def test_every_route_but_health_says_that_the_vault_is_suspended(home: House) -> None:
    with told(home, suspended=True):
        for route in registry.routes:
            path = "/".join(ID if part.startswith("{") else part for part in route.path.split("/"))
            if path == "/health":
                continue
            answer = ask(home, route.method, path)
            found = answer.get_json()
            assert (answer.status_code, answer.content_type) == (503, "application/problem+json"), path
            assert (found["type"], found["detail"]) == ("urn:auricle:problem:suspended", SENTENCE), path
            assert "Retry-After" not in answer.headers
    assert len(registry.routes) > 50


def test_health_and_probes_answer(home: House) -> None:
    with told(home, suspended=True):
        assert ask(home, "GET", "/health").get_json()["status"] == "ok"
        assert [ask(home, "GET", path).status_code for path in ("/healthz", "/readyz")] == [200, 200]


@pytest.mark.usefixtures("no_database")
def test_timers_do_nothing_and_are_no_failure(home: House) -> None:
    with told(home, suspended=True):
        for name in registry.timers:
            home.tick(name)
    assert "sweep_runs" in registry.timers


def test_what_was_out_ends_nothing_new_goes_out_and_runs_go_on_afterwards(home: House, tmp_path: Path) -> None:
    file = home.upload(GOOD["meeting.wav"](tmp_path / "meeting.wav"))
    while not home.runs(file["id"]):
        home.settle(most=1)  # until the conductor has released the preparation
    with told(home, suspended=True):
        home.settle()
        assert not home.queue.waiting
        for name in registry.timers:
            home.tick(name)
    (run,) = home.runs(file["id"])
    steps = {step["name"]: step["state"] for step in run["steps"]}
    assert (run["state"], steps["prepare"], steps["transcribe"]) == ("running", "succeeded", "waiting")
    home.tick("sweep_runs")
    home.settle()
    (run,) = home.runs(file["id"])
    assert run["state"] == "succeeded"
    assert home.dropped == []


def test_the_command_line_prints_the_sentence_at_once(home: House) -> None:
    with told(home, suspended=True), open_door(home) as url:
        done = CliRunner().invoke(command_line, ["runs", "list", "--server", url, "--token", home.token])
    assert done.exit_code == 1
    assert SENTENCE in done.output


def problem(kind: str, detail: str) -> Line:
    body: dict[str, Any] = {"type": f"urn:auricle:problem:{kind}", "title": "x", "status": 503, "detail": detail}
    return Line(status=503, body=json.dumps(body).encode(), headers={"Content-Type": "application/problem+json"})


def test_programs_ask_a_suspended_vault_once_and_one_that_is_away_again() -> None:
    with playing(problem("suspended", SENTENCE)) as server:
        with pytest.raises(ServerError, match="suspended") as caught:
            Server(server.url, "aur_x").call("GET", "/api/files")
        assert caught.value.suspended
        assert len(server.heard) == 1
    with playing(problem("unavailable", "Away."), Line(body=b"{}")) as server:
        assert Server(server.url, "aur_x").call("GET", "/api/files") == {}
        assert len(server.heard) == 2


def test_whoever_follows_is_told_and_does_not_follow_for_ever() -> None:
    with playing(problem("suspended", SENTENCE)) as server, pytest.raises(ServerError, match="suspended"):
        next(Server(server.url, "aur_x").events())


def test_whoever_follows_one_that_is_away_waits_for_it() -> None:
    away = problem("unavailable", "Away.")
    line = Line(body=b"id: 1\nevent: file\ndata: {}\n\n", headers={"Content-Type": "text/event-stream"})
    with playing(away, line) as server:
        assert next(Server(server.url, "aur_x").events()) == ("1", "file", {})


def test_the_interface_s_description_tells_of_it() -> None:
    paths = document()["paths"]
    assert "503" not in paths["/health"]["get"]["responses"]
    assert "urn:auricle:problem:suspended" in paths["/api/files"]["get"]["responses"]["503"]["description"]
