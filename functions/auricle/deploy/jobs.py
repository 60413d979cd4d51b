"""What runs once per release, in the API image: `python -m auricle.deploy.jobs migrate` (or another of `JOBS`).

Kubernetes Jobs call it; each is idempotent and patient with a server that is still starting.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from auricle.errors import AuricleError, Conflict, Invalid, Retryable
from auricle.runtime.settings import Settings, settings

PATIENCE = 300.0
"""Seconds: a database or a store that was deployed in the same breath is up by then."""
PAUSE = 2.0
Answer = TypeVar("Answer")


def migrate(chosen: Settings) -> str:
    """Bring the database to this release's schema, and let the functions' role use it. Several at once wait for each other."""
    from auricle.runtime.database import migrate
    from auricle.runtime.grants import grant_rows, waited_for

    url = chosen.owner_database_url or _missing("OWNER_DATABASE_URL", "the role that owns the tables (auricle_migrate)")

    def attempt() -> str:
        with waited_for():
            revision = migrate(url)
            grant_rows(url)
        return revision

    return f"The database is at revision {patiently(attempt)}."


def contract(chosen: Settings) -> str:
    """Take away what no release reads any more, once no function of an earlier release is left."""
    from auricle.runtime.database import contract
    from auricle.runtime.grants import grant_rows, waited_for

    url = chosen.owner_database_url or _missing("OWNER_DATABASE_URL", "the role that owns the tables (auricle_migrate)")

    def attempt() -> str:
        with waited_for():
            revision = contract(url)
            if revision:
                grant_rows(url)
        return revision

    revision = patiently(attempt)
    if not revision:
        return "There is nothing to take away: every release so far reads all that is there."
    return f"What no release reads any more is gone, up to contraction {revision}."


def bucket(chosen: Settings) -> str:
    """Make the bucket what it must be, and say what the store does not offer."""
    from auricle.deploy.bucket import Wish, origin_of
    from auricle.deploy.bucketcalls import client_maker, set_up

    clients = client_maker(
        chosen.s3_endpoint or _missing("S3_ENDPOINT", "the object store"),
        chosen.s3_region,
        chosen.s3_access_key_id,
        chosen.s3_secret_access_key,
    )
    wish = Wish(
        bucket=chosen.s3_bucket,
        region=chosen.s3_region,
        origin=origin_of(chosen.blobs_public_url),
        hear_at=chosen.bucket_events_url,
        token=chosen.bucket_token,
        upload_hours=chosen.upload_hours,
    )
    outcomes = patiently(lambda: list(set_up(clients, wish)))
    told = "\n".join(map(str, outcomes))
    if any(outcome.state.bad for outcome in outcomes):
        raise Conflict(f"{told}\nThe bucket is not what it must be: see the lines above that say what to do.")
    return told


def owner(chosen: Settings, *, new_token: bool = True) -> str:
    """A personal token of the owner, printed once: nobody can read it again. Without `new_token` only the very first."""
    from auricle.access import actions
    from auricle.access.model import PrincipalId
    from auricle.access.store import TokenStore
    from auricle.contract.ids import uuid7
    from auricle.runtime.database import Database, engine_for
    from auricle.runtime.grants import take_turns, waited_for

    database = Database(engine_for(chosen.database_url or _missing("DATABASE_URL", "the database"), 1))

    def attempt() -> str:
        with waited_for(), database.work() as connection:
            take_turns(connection)  # of two jobs at once, one is first
            tokens = TokenStore(connection)
            account = tokens.principal_named(PrincipalId(uuid7()), actions.LOCAL, actions.LOCAL)
            if not new_token and tokens.of(account.id, 1, None):
                return ""
            _, secret = actions.create_owner(tokens)
            return secret

    try:
        return patiently(attempt)
    finally:
        database.close()


def first_token(chosen: Settings) -> str:
    """The owner's token at the first installation; afterwards nothing, and a word on the error stream."""
    secret = owner(chosen, new_token=False)
    if not secret:
        sys.stderr.write("The owner has a token already. `owner` prints a fresh one beside it.\n")
    return secret


def invite(chosen: Settings) -> str:
    """Ask each of INVITE_OWNERS to become an owner, once: by mail, or without a mail server by a link in this job's log."""
    from auricle.access.model import Site
    from auricle.admin.audit.trail import SYSTEM, Facts, Trail
    from auricle.contract.store import Units
    from auricle.identity.accounts.appointing import appoint
    from auricle.ports.mail import Mail
    from auricle.runtime.accountwiring import mail_server
    from auricle.runtime.grants import waited_for
    from auricle.runtime.wiring import DatabaseUnits, Wiring

    addresses = [address.strip() for address in chosen.invite_owners.split(",") if address.strip()]
    if not addresses:
        return "Nobody is to be invited: INVITE_OWNERS is empty."
    _ = chosen.database_url or _missing("DATABASE_URL", "the database")
    _ = chosen.public_url or chosen.blobs_public_url or _missing("PUBLIC_URL", "the page that an invitation leads to")
    wiring = Wiring(chosen)
    units: Units = DatabaseUnits(wiring.database)
    trail = Trail(Facts(function="invite"), wiring.now, str, None, SYSTEM)

    def attempt() -> str:
        with waited_for():
            mail = wiring.provide(Mail) if mail_server(wiring)[0].host else None
            appoint(addresses, units, wiring.provide(Site), mail, trail, _say)
        return ""

    try:
        return patiently(attempt)
    finally:
        wiring.database.close()


JOBS: dict[str, Callable[[Settings], str]] = {
    "migrate": migrate,
    "contract": contract,
    "bucket": bucket,
    "owner": owner,
    "first-token": first_token,
    "invite": invite,
}


def _say(line: str) -> None:
    """At once: what follows it is done only after it was said."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def patiently(act: Callable[[], Answer], patience: float | None = None, pause: float = PAUSE) -> Answer:
    """Do it again while the server is away."""
    patience = PATIENCE if patience is None else patience
    end, said = time.monotonic() + patience, ""
    while True:
        try:
            return act()
        except Retryable as error:
            if time.monotonic() > end:
                raise
            if str(error) != said:  # a line per reason, not one per try
                said = str(error)
                sys.stderr.write(f"{said} Trying for {patience:.0f} seconds.\n")
            time.sleep(pause)


def _missing(variable: str, what: str) -> str:
    raise Invalid(f"Set {variable}: it says where to find {what}.")


def main(words: Sequence[str]) -> int:
    """Run the job that `words` names."""
    if len(words) != 1 or words[0] not in JOBS:
        sys.stderr.write(f"Say which job: {', '.join(JOBS)}.\n")
        return 2
    try:
        told = JOBS[words[0]](settings())
        if told:
            sys.stdout.write(f"{told}\n")
    except AuricleError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
