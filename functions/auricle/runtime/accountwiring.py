"""How the ports of accounts are made: mail, who may register, work that publishes. `runtime.wiring` takes these tables in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auricle.ports.mail import Mail, Message
    from auricle.runtime.wiring import Wiring


class ChosenMail:
    """`ports.mail.Mail` through whatever server is set at the moment."""

    def __init__(self, wiring: Wiring) -> None:
        """Nothing is connected: each letter has a connection of its own."""
        self._wiring = wiring
        self._made: tuple[Any, Mail] | None = None

    def send(self, message: Message) -> None:
        """Hand `message` over."""
        self._current().send(message)

    def _current(self) -> Mail:
        """The adapter for the settings of now; kept while they stay, because trust is read from files."""
        chosen = mail_server(self._wiring)
        if self._made is None or self._made[0] != chosen:
            self._made = chosen, mail_of(*chosen, self._wiring.settings.smtp_ca_file)
        return self._made[1]


def mail_server(wiring: Wiring) -> tuple[Any, str]:
    """The server and its password: what administrators set, or else the environment."""
    from auricle.admin.configuration.actions import Configuration
    from auricle.identity.accounts.model import MAIL
    from auricle.runtime.configured import DEFAULTS

    configuration, s = wiring.provide(Configuration), wiring.settings
    configuration.fresh()
    held = configuration.held(MAIL)
    if held is not None:
        return held.value, configuration.secret(MAIL) or ""
    return DEFAULTS[MAIL.name](s), s.smtp_password


def mail_of(server: Any, password: str, ca_file: str) -> Mail:
    """The adapter for a server (`identity.accounts.model.MailServer`); also to test one before it is set."""
    if not server.host:
        from auricle.adapters.mail.logged import LoggedMail

        return LoggedMail()
    from auricle.adapters.mail.smtp import Security, SmtpMail

    return SmtpMail(
        server.host,
        server.port,
        server.sender,
        security=Security(server.security.value),
        username=server.username or None,
        password=password if server.username else None,
        ca_file=Path(ca_file) if ca_file else None,
    )


def _inactivity(wiring: Wiring) -> Any:
    from auricle.identity.people.model import Inactivity

    return Inactivity(wiring.settings.inactive_days)


def _publishing_units(wiring: Wiring) -> Any:
    from auricle.runtime.outbox import OutboxUnits

    return OutboxUnits(wiring)


PROVIDERS: dict[str, Callable[[Wiring], Any]] = {
    "auricle.ports.mail.Mail": ChosenMail,
    "auricle.ports.bus.PublishingUnits": _publishing_units,
    "auricle.identity.people.model.Inactivity": _inactivity,
}
SECRETS: dict[str, tuple[str, ...]] = {
    "auricle.ports.mail.Mail": ("database_url", "sealing_keys", "smtp_password"),
    "auricle.ports.bus.PublishingUnits": ("database_url", "event_key"),
    "auricle.identity.accounts.model.RegistrationPolicy": ("database_url",),
}
