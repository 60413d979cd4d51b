"""`python -m auricle.runtime.local.broker PLAN.json`: the broker's process."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from auricle.errors import AuricleError
from auricle.runtime.local.broker import chaos, plans
from auricle.runtime.local.broker.client import HttpClient
from auricle.runtime.local.broker.clock import Clock
from auricle.runtime.local.broker.hub import Hub
from auricle.runtime.local.broker.ingress import Ingress
from auricle.runtime.local.broker.ledger import Ledger
from auricle.runtime.local.broker.server import HttpServer
from auricle.runtime.local.crew import HOST
from auricle.runtime.local.parent import watch_parent
from auricle.runtime.local.plan import Plan
from auricle.runtime.local.workers import Workers
from auricle.runtime.settings import child_environment, settings
from auricle.runtime.telemetry import start_logging

log = logging.getLogger("auricle.broker")

FINISHING = 1.2
LEAVING = 1.0
CLOSING = 0.3
"""Seconds of a stop: for deliveries to finish, for workers to leave, for the database's threads. Under 3 in all."""
SWITCH = 0.0005
"""Seconds after which the loop lets a database thread have the interpreter: Python's own 5 ms would be most of a hop."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT (0), or until it cannot go on (1)."""
    parser = argparse.ArgumentParser(prog="auricle.runtime.local.broker", description="The embedded event broker.")
    parser.add_argument("plan", type=Path, help="the plan that `auricle up` wrote")
    parser.add_argument("--chaos", default="", metavar="dup=0.1,reorder=0.1,seed=7", help="repeat and reorder deliveries")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends")
    given = parser.parse_args(arguments)
    start_logging(settings().log_level)
    sys.setswitchinterval(SWITCH)
    if given.with_parent:
        watch_parent()
    try:
        trouble = chaos.parse(given.chaos) if given.chaos else None
        asyncio.run(serve(plans.load(given.plan), trouble))
    except AuricleError as error:
        log.critical("%s", error)
        return 1
    return 0


async def serve(plan: Plan, trouble: chaos.Chaos | None) -> None:
    """Be the broker of `plan` until told to stop."""
    client = HttpClient()
    workers = Workers(plan.pools, logs=plan.data / "logs", client=client, environment=child_environment({}))
    ledger = Ledger(plan.database_url)
    hub = Hub(plan, ledger, workers, client, trouble)
    clock = Clock(plan.timers, plan.broker_path.split("/")[1], hub, ledger)
    server = HttpServer(Ingress(plan, hub, ledger, workers, clock))
    await server.listen(HOST, plan.broker_port)
    log.info("the broker listens on http://%s:%d%s", HOST, plan.broker_port, plan.broker_path)
    hub.start()
    chores = [asyncio.create_task(hub.keep_house()), asyncio.create_task(clock.run())]
    try:
        await _until_told(hub.end)
    finally:
        began = time.monotonic()
        server.close()
        for chore in chores:
            chore.cancel()
        await hub.stop(FINISHING)
        await workers.stop(LEAVING)
        client.close()
        ledger.close(CLOSING)
        log.info("the broker has stopped after %.1f s", time.monotonic() - began)


async def _until_told(end: asyncio.Future[None]) -> None:
    """Until SIGTERM or SIGINT; raises what makes going on impossible."""
    loop = asyncio.get_running_loop()

    def told() -> None:
        if not end.done():
            end.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    await end


if __name__ == "__main__":
    sys.exit(main())
