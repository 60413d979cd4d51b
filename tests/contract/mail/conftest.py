"""Everything that takes letters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auricle.adapters.mail.logged import LoggedMail
from auricle.adapters.mail.smtp import SmtpMail
from auricle.ports.mail import Mail
from builders.mail import MemoryMail

Post = tuple[Mail, Callable[[], list[str]]]
"""A post office, and the keys of the letters that it has taken, in their order."""


@pytest.fixture(params=["memory", "logged", pytest.param("smtp", marks=pytest.mark.services)])
def post(request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Post]:
    """Every adapter."""
    if request.param == "memory":
        memory = MemoryMail()
        yield memory, lambda: [letter.key for letter in memory.sent]
    elif request.param == "logged":
        yield LoggedMail(), lambda: [str(record.args[1]) for record in caplog.records if record.args]
    else:
        from builders import smtp_server

        ours = smtp_server.authority(tmp_path)
        with smtp_server.running(ours.context("127.0.0.1")) as server:
            mail = SmtpMail("127.0.0.1", server.port, "auricle@example.org", ca_file=ours.file)
            yield mail, lambda: [str(letter.message["Subject"]) for letter in server.letters]
