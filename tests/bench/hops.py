"""How fast events hop: `python tests/bench/hops.py [--events N] [--database-url URL]`.

The broker, the subscriber and the publisher are three processes; clocks are the machine's monotonic one. `measure` is for
`auricle bench`, `measure_broker` for any broker that is there already and sends events to our subscriber.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from auricle.runtime.local.broker.client import HttpClient
from auricle.runtime.local.broker.server import HttpServer, Request, Response
from auricle.runtime.local.plan import Delivery, Pool, Subscription

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.figures import figure

TYPE = "auricle.bench.hopped.v1"
BODY = json.dumps({"file_id": "0" * 36, "run_id": "1" * 36, "url": "https://example.org/" + "x" * 300}).encode()
"""About as large as our facts are."""


@dataclass(frozen=True)
class Hops:
    """Milliseconds between two moments of each event, and events a second at full speed.

    `published_*`: from sending the POST until the handler is called. `accepted_*`: from the 202 until then (a handler may
    be called before its publisher has read the 202: that counts as 0).
    """

    published_p50: float
    published_p99: float
    accepted_p50: float
    accepted_p99: float
    events_per_second: float
    accepted_per_second: float
    lost: int
    broker_pss_mb: float | None

    def show(self) -> None:
        """Print the figures and their goals."""
        figure("hop, POST to handler: p50", self.published_p50, "ms", "≤ 5", "with the commit that 202 stands for")
        figure("hop, POST to handler: p99", self.published_p99, "ms", "≤ 25")
        figure("hop, 202 to handler: p50", self.accepted_p50, "ms", "≤ 5")
        figure("hop, 202 to handler: p99", self.accepted_p99, "ms", "≤ 25")
        figure("events through a subscriber", self.events_per_second, "1/s", "≥ 500", f"{self.lost} lost")
        if self.broker_pss_mb is not None:
            figure("broker: PSS", self.broker_pss_mb, "MB", "≤ 60")


def measure(database_url: str, folder: Path, *, singles: int = 400, burst: int = 4000, publishers: int = 16) -> Hops:
    """Hops through the embedded broker on a database of its own, started for this in `folder`."""
    from builders.broker_process import broker, plan_of

    with subscriber() as port:
        pool = Pool(name="bench", functions=("bench",), url=f"http://127.0.0.1:{port}", concurrency=32)
        subscription = Subscription(
            name="bench", filter={"type": TYPE}, pool="bench", path="/events/bench", parallelism=16, delivery=Delivery(retry=0)
        )
        with broker(plan_of(folder, database_url, [subscription], [pool])) as running:
            found = measure_broker(running.ingress, port, singles=singles, burst=burst, publishers=publishers)
            return Hops(**{**found.__dict__, "broker_pss_mb": _pss(running.pid)})


def measure_broker(ingress: str, subscriber_port: int, *, singles: int, burst: int, publishers: int) -> Hops:
    """Hops through any broker whose trigger on `TYPE` leads to our subscriber on that port."""
    return asyncio.run(_measure(ingress, f"http://127.0.0.1:{subscriber_port}", singles, burst, publishers))


async def _measure(ingress: str, subscriber_url: str, singles: int, burst: int, publishers: int) -> Hops:
    client = HttpClient()
    await _publish(client, ingress, [f"warm-{n}" for n in range(50)])
    calm = await _publish(client, ingress, [f"calm-{n}" for n in range(singles)], pause=0.002)
    handled = await _handled(client, subscriber_url, 50 + singles)
    began = time.monotonic()
    names = [f"burst-{n}" for n in range(burst)]
    shares = [names[n::publishers] for n in range(publishers)]
    await asyncio.gather(*(_publish(client, ingress, share) for share in shares))
    accepted = time.monotonic()
    everything = await _handled(client, subscriber_url, 50 + singles + burst)
    ended = max(everything[name] for name in names if name in everything)
    published = [1000 * (handled[name] - sent) for name, (sent, _) in calm.items()]
    since_accepted = [max(0.0, 1000 * (handled[name] - answered)) for name, (_, answered) in calm.items()]
    client.close()
    return Hops(
        published_p50=statistics.median(published),
        published_p99=_p99(published),
        accepted_p50=statistics.median(since_accepted),
        accepted_p99=_p99(since_accepted),
        events_per_second=burst / (ended - began),
        accepted_per_second=burst / (accepted - began),
        lost=sum(name not in everything for name in [*calm, *names]),
        broker_pss_mb=None,
    )


async def _publish(
    client: HttpClient, ingress: str, names: Sequence[str], pause: float = 0.0
) -> dict[str, tuple[float, float]]:
    """Publish one after the other; when each was sent and answered."""
    times = {}
    for name in names:
        attributes = {"specversion": "1.0", "id": name, "source": "/bench", "type": TYPE, "concerns": "run", "sig": "0" * 64}
        headers = [(f"ce-{key}", value) for key, value in attributes.items()]
        sent = time.monotonic()
        answer = await client.request("POST", ingress, [*headers, ("content-type", "application/json")], BODY)
        times[name] = (sent, time.monotonic())
        assert answer.status == 202, answer
        await asyncio.sleep(pause)
    return times


async def _handled(client: HttpClient, subscriber_url: str, count: int, seconds: float = 60.0) -> dict[str, float]:
    """When the subscriber was called for each event, once it was for `count` of them."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answer = await client.request("GET", f"{subscriber_url}/count")
        if int(answer.body) >= count:
            break
        await asyncio.sleep(0.05)
    found: dict[str, float] = {}
    while len(page := json.loads((await client.request("GET", f"{subscriber_url}/{len(found)}")).body)) > 0:
        found.update(page)
    return found


@contextlib.contextmanager
def subscriber() -> Iterator[int]:
    """A trivial subscriber in a process of its own; its port."""
    process = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


async def _serve() -> None:
    """Answer 204 to every event; say when it came."""
    came: dict[str, float] = {}

    async def handle(request: Request) -> Response:
        if request.method == "POST":
            came.setdefault(request.headers["ce-id"], time.monotonic())
            return Response(204)
        if request.path == "/count":
            return Response(200, str(len(came)).encode())
        begin = int(request.path[1:])
        return Response(200, json.dumps(list(came.items())[begin : begin + 5000]).encode())

    from builders.broker_process import free_port

    port = free_port()
    await HttpServer(handle).listen("127.0.0.1", port)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def _pss(pid: int) -> float | None:
    """Proportional memory of a process in MB; None where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=4000, help="how many in the burst")
    parser.add_argument("--database-url", help="default: an embedded one, durable")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(_serve())
        return
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = given.database_url or stack.enter_context(_database())
        measure(url, folder, burst=given.events).show()


@contextlib.contextmanager
def _database() -> Iterator[str]:
    """The embedded one, really durable: commits wait for the disk."""
    from auricle.runtime.local.postgres import Postgres
    from builders.postgres_server import Server, wait_ready

    with tempfile.TemporaryDirectory() as folder:
        postgres = Postgres(Path(folder))
        postgres.prepare()
        process = postgres.spawn(subprocess.DEVNULL)
        try:
            wait_ready(postgres, process)
            server = Server(postgres, process)
            yield server.owner_url(server.new_database())
        finally:
            postgres.stop(process)


if __name__ == "__main__":
    main()
