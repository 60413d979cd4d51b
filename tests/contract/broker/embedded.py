"""The embedded broker under the conformance suite's rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from auricle.runtime.local.plan import Backoff, Delivery, Pool, Subscription
from builders.broker_process import BrokerProcess, plan_of
from contract.broker.under_test import Declared, Feature


class EmbeddedBroker:
    """Triggers are a plan: declaring them starts the process anew."""

    features = frozenset(Feature)
    sink = None

    def __init__(self, folder: Path, database_url: str) -> None:
        """`folder` gets the plan and the log."""
        self._folder = folder
        self._database_url = database_url
        self._process: BrokerProcess | None = None
        self._dead: dict[str, str] = {}

    @property
    def process(self) -> BrokerProcess:
        """The running one."""
        assert self._process is not None
        return self._process

    @property
    def ingress(self) -> str:
        """Where events are posted."""
        return self.process.ingress

    @property
    def namespace(self) -> str:
        """What deliveries name as theirs."""
        return urlsplit(self.ingress).path.split("/")[1]

    def declare(self, triggers: Sequence[Declared]) -> None:
        """Have exactly these triggers in force."""
        self.stop()
        self._dead = sinks(triggers)
        plan = plan_of(self._folder, self._database_url, subscriptions(triggers), pools(triggers))
        self._process = BrokerProcess(plan)
        self._process.start()

    def settle(self, triggers: Sequence[Declared]) -> None:
        """Wait until nothing is under way or waits for these, dead letters included."""
        dead = {self._dead[trigger.dead_letter] for trigger in triggers if trigger.dead_letter}
        self.process.wait_settled({trigger.name for trigger in triggers} | dead)

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            assert self._process.stop() == 0


def sinks(triggers: Sequence[Declared]) -> dict[str, str]:
    """Names of dead-letter subscriptions by address."""
    return {
        address: f"dead-{number}" for number, address in enumerate(sorted({t.dead_letter for t in triggers if t.dead_letter}))
    }


def subscriptions(triggers: Sequence[Declared]) -> list[Subscription]:
    """Triggers in the plan's words."""
    dead = sinks(triggers)
    found = [
        Subscription(
            name=trigger.name,
            filter=dict(trigger.filter),
            pool=trigger.name,
            path=urlsplit(trigger.subscriber).path,
            parallelism=trigger.parallelism,
            delivery=Delivery(
                retry=trigger.retry,
                backoff=Backoff(trigger.backoff),
                delay=trigger.delay,
                timeout=trigger.timeout,
                dead_letter=dead[trigger.dead_letter] if trigger.dead_letter else None,
            ),
        )
        for trigger in triggers
    ]
    patient = Delivery(delay=0.02, timeout=10)
    return found + [
        Subscription(name=name, filter={}, pool=name, path=urlsplit(address).path, parallelism=8, delivery=patient)
        for address, name in dead.items()
    ]


def pools(triggers: Sequence[Declared]) -> list[Pool]:
    """One per trigger, so that none waits for another's places; with room, so that the trigger's parallelism is the bound."""
    addresses = {trigger.name: trigger.subscriber for trigger in triggers}
    addresses |= {name: address for address, name in sinks(triggers).items()}
    return [
        Pool(name=name, functions=(name,), url="http://" + urlsplit(address).netloc, concurrency=64)
        for name, address in addresses.items()
    ]
