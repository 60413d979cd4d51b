"""What was seen of each broker: `observations.json`, written by a run with RECORD=1 and compared with by every other run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).with_name("observations.json")
HOLDS, DIFFERS, NOT_ASKED = "holds", "differs", "not asked"
BROKERS = {"embedded": "embedded", "rabbitmq": "RabbitMQ", "in-memory": "MT in-memory"}
"""By the name in the file: the name in the table."""


def observations() -> dict[str, dict[str, str]]:
    """By broker, by slug of a rule or a question: `holds` or `differs`, or the question's answer."""
    found: dict[str, dict[str, str]] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found


def recording() -> bool:
    """Whether this run makes the record instead of comparing with it."""
    return os.environ.get("RECORD") == "1"


def record(broker: str, seen: Mapping[str, str]) -> None:
    """Put what was seen of a broker in place of what stood there."""
    everything = {**observations(), broker: dict(sorted(seen.items()))}
    FILE.write_text(
        json.dumps({name: everything[name] for name in BROKERS if name in everything}, indent=1, ensure_ascii=False) + "\n"
    )


def compare(broker: str, slug: str, seen: str, why: str = "") -> None:
    """Fail when this run saw something else than the record says."""
    recorded = observations().get(broker, {}).get(slug)
    assert seen == recorded, (
        f"{broker}, {slug}: the record says {recorded!r}, this run saw {seen!r}. {why}\n"
        "If the broker has changed, run again with RECORD=1 and look at what `git diff` says of tests/contract/broker."
    )
