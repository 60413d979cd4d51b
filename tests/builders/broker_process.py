"""The embedded broker as its own process, with whatever plan a test wants."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from auricle.runtime.local import plan as plans
from auricle.runtime.local.plan import Plan, Pool, Subscription, Timer


def free_port() -> int:
    """A port that nobody holds right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plan_of(
    folder: Path, database_url: str, subscriptions: Sequence[Subscription], pools: Sequence[Pool], timers: Sequence[Timer] = ()
) -> Plan:
    """A plan with ports of its own."""
    return Plan(
        data=folder,
        database_url=database_url,
        broker_port=free_port(),
        gateway_port=1,
        subscriptions=tuple(subscriptions),
        pools=tuple(pools),
        timers=tuple(timers),
    )


class BrokerProcess:
    """One plan's broker; may be killed and started again."""

    def __init__(self, plan: Plan, *arguments: str) -> None:
        """`arguments` go to the command line."""
        self.plan = plan
        self.origin = f"http://127.0.0.1:{plan.broker_port}"
        self.ingress = self.origin + plan.broker_path
        self._arguments = arguments
        self._path = plan.data / "plan.json"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it says."""
        return self.plan.data / "broker.log"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, ready: bool = True) -> None:
        """Start it; with `ready`, wait until it takes events."""
        plans.write(self._path, self.plan)
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "auricle.runtime.local.broker", str(self._path), *self._arguments]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if ready:
            self.wait_online()

    def wait_online(self, seconds: float = 30.0) -> None:
        """Until it has its database."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self._process is not None
            assert self._process.poll() is None, self.log.read_text()[-2000:]
            try:
                if self.status()["database"] == "ok":
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"the broker was not ready after {seconds} s: {self.log.read_text()[-2000:]}")

    def status(self) -> dict[str, Any]:
        """`GET /status`."""
        with urllib.request.urlopen(f"{self.origin}/status", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def wait_settled(self, names: Collection[str] | None = None, seconds: float = 30.0) -> None:
        """Until nothing waits, is retried or is under way for the subscriptions `names` (all of them by default)."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            status = self.status()
            relevant = [s for s in status["subscriptions"] if names is None or s["name"] in names]
            if not any(s["waiting"] or s["retrying"] or s["in_flight"] for s in relevant):
                return
            time.sleep(0.02)
        raise AssertionError(f"the broker still has work after {seconds} s: {relevant}")

    def kill(self) -> None:
        """SIGKILL: no last words."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        return self._end(signal.SIGTERM)

    def exit_status(self, seconds: float = 20.0) -> int:
        """Wait for it to end by itself."""
        assert self._process is not None
        return self._process.wait(seconds)

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code, self._process = self._process.wait(15), None
        return code


@contextmanager
def broker(plan: Plan, *arguments: str) -> Iterator[BrokerProcess]:
    """A running broker, stopped afterwards."""
    process = BrokerProcess(plan, *arguments)
    try:
        process.start()
        yield process
    finally:
        process.stop()


def post(url: str, body: bytes = b"", headers: Mapping[str, str] | None = None, method: str = "POST") -> tuple[int, bytes]:
    """Status and body of one request; refusals are answers, too."""
    request = urllib.request.Request(url, data=body if method == "POST" else None, headers=dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def event_headers(type: str, id: str = "1", **attributes: str) -> dict[str, str]:
    """Headers of a binary event with JSON data."""
    given = {"specversion": "1.0", "id": id, "source": "/test", "type": type, **attributes}
    return {**{f"ce-{name}": value for name, value in given.items()}, "content-type": "application/json"}
