"""What administrators can set, as functions name it: their values, else those that the environment has for the section."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from auricle.runtime import identitywiring
from auricle.runtime.settings import Settings

if TYPE_CHECKING:
    from auricle.admin.configuration.model import Section
    from auricle.runtime.wiring import Wiring

T = TypeVar("T")


class EnvironmentDefaults:
    """Implements `admin.configuration.sections.Defaults`."""

    def __init__(self, settings: Settings) -> None:
        """`settings` are this process's."""
        self._settings = settings

    def of(self, name: str) -> Any:
        """As the protocol says; of things that there are several of, the environment says nothing."""
        make = DEFAULTS.get(name)
        return None if make is None else make(self._settings)


def _sessions(s: Settings) -> Any:
    from auricle.access.sessions import Limits

    idle, absolute = timedelta(minutes=s.session_idle_minutes), timedelta(hours=s.session_hours)
    return Limits(idle=idle, absolute=absolute, concurrent=s.sessions_at_once)


def _passwords(s: Settings) -> Any:
    from auricle.identity.passwords import PasswordRules, ProfileName

    return PasswordRules(profile=ProfileName(s.password_profile))


def _lockout(s: Settings) -> Any:
    from auricle.identity.lockout import LockoutRules

    return LockoutRules()


def _audit(s: Settings) -> Any:
    from auricle.admin.audit.model import AuditRules

    return AuditRules(keep_days=s.audit_keep_days)


def _banner(s: Settings) -> Any:
    from auricle.identity.banner.model import Banner

    return Banner(enabled=bool(s.banner_text.strip()), text=s.banner_text, classification=s.banner_classification)


def _mail(s: Settings) -> Any:
    from auricle.identity.accounts.model import MailSecurity, MailServer

    security = MailSecurity(s.smtp_security)
    return MailServer(host=s.smtp_host, port=s.smtp_port, security=security, username=s.smtp_username, sender=s.smtp_from)


def _mfa(s: Settings) -> Any:
    from auricle.access.mfa import policy_of

    return policy_of(s.mfa_required)


def _registration(s: Settings) -> Any:
    from auricle.identity.accounts.model import RegistrationMode, RegistrationPolicy

    return RegistrationPolicy(mode=RegistrationMode(s.registration))


DEFAULTS: dict[str, Callable[[Settings], Any]] = {
    "audit": _audit,
    "banner": _banner,
    "lockout": _lockout,
    "mail": _mail,
    "mfa": _mfa,
    "passwords": _passwords,
    "registration": _registration,
    "sessions": _sessions,
}
"""Section → its values of the environment."""


def _set(wiring: Wiring, section: Section[T]) -> T:
    """What administrators have set, else what the environment says."""
    from auricle.admin.configuration.actions import Configuration

    configuration: Configuration = wiring.provide(Configuration)
    default: T = DEFAULTS[section.name](wiring.settings)
    return configuration.of(section, default)


def _profile(wiring: Wiring) -> Any:
    from auricle.identity.passwords import PASSWORDS

    return _set(wiring, PASSWORDS).in_full()


def _limits(wiring: Wiring) -> Any:
    from auricle.access.sessions import SESSIONS

    return _set(wiring, SESSIONS)


def _lockout_rules(wiring: Wiring) -> Any:
    from auricle.identity.lockout import LOCKOUT

    return _set(wiring, LOCKOUT)


def _mail_server(wiring: Wiring) -> Any:
    from auricle.identity.accounts.model import MAIL

    return _set(wiring, MAIL)


def _audit_rules(wiring: Wiring) -> Any:
    from auricle.admin.audit.model import AUDIT

    return _set(wiring, AUDIT)


def _notice(wiring: Wiring) -> Any:
    from auricle.identity.banner.model import BANNER

    return _set(wiring, BANNER)


def _mfa_policy(wiring: Wiring) -> Any:
    from auricle.access.mfa import MFA

    return _set(wiring, MFA)


def _registration_policy(wiring: Wiring) -> Any:
    from auricle.identity.accounts.model import REGISTRATION

    return _set(wiring, REGISTRATION)


PROVIDERS: dict[str, Callable[[Wiring], Any]] = {
    "auricle.access.mfa.MfaPolicy": _mfa_policy,
    "auricle.access.sessions.Limits": _limits,
    "auricle.admin.audit.model.AuditRules": _audit_rules,
    "auricle.identity.accounts.model.MailServer": _mail_server,
    "auricle.identity.accounts.model.RegistrationPolicy": _registration_policy,
    "auricle.identity.banner.model.Banner": _notice,
    "auricle.identity.lockout.LockoutRules": _lockout_rules,
    "auricle.identity.passwords.Passwords": identitywiring.passwords,
    "auricle.identity.passwords.Profile": _profile,
}
"""Settings struct, or what is made of one (by dotted name) → how it is made, anew for each request."""
