"""What is needed before anything is served: roles, the newest schema, the owner and its token, the keys of sign-in.

A process of its own, run at every start, because it needs libraries that the small supervisor must not load. Reads
`Wanted` as JSON on standard input, writes `Done` as JSON on standard output.
"""

from __future__ import annotations

import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from auricle.access import actions
from auricle.access.model import digest
from auricle.access.store import TokenStore
from auricle.adapters.signing.ringfiles import private_file
from auricle.errors import AuricleError, Retryable
from auricle.identity.store import IdentityStore
from auricle.runtime.database import Database, engine_for, migrate, translated
from auricle.runtime.local.identity import LocalIdentity
from auricle.runtime.local.stepwords import Done, Wanted
from auricle.runtime.telemetry import masked


def take(wanted: Wanted) -> Done:
    """Do what is missing; what is there stays."""
    if wanted.embedded is not None:
        from auricle.runtime.local.roles import ensure_database

        ensure_database(wanted.embedded.superuser_url, wanted.embedded.database, wanted.embedded.passwords)
    data = Path(wanted.token_file).parent
    _tidy(data / "blobs")
    code = LocalIdentity(data).prepare(datetime.now(UTC))
    with translated():
        revision = migrate(wanted.owner_url)
    database = Database(engine_for(wanted.app_url, 1))
    try:
        made = _ensure_owner(database, Path(wanted.token_file))
        with database.work() as connection:
            nobody = IdentityStore(connection).nobody_yet()
    finally:
        database.close()
    return Done(revision=revision, token_made=made, setup_code=code if nobody else "")


def _tidy(folder: Path) -> None:
    """Remove the halves of uploads that were killed with an earlier life: nobody writes yet."""
    if folder.is_dir():
        from auricle.adapters.blobs.filesystem import FilesystemBlobs

        FilesystemBlobs(folder, "", "", b"tidying signs nothing").tidy(0)


def _ensure_owner(database: Database, token_file: Path) -> bool:
    """Make the owner and write its token, unless the file holds one that the database knows."""
    with database.work() as connection:
        tokens = TokenStore(connection)
        if token_file.exists() and tokens.by_digest(digest(token_file.read_text().strip())) is not None:
            return False
        _, secret = actions.create_owner(tokens)
    private_file(token_file, f"{secret}\n".encode())
    return True


def main() -> None:
    """Take the steps; what goes wrong is told in one line, the last on standard error."""
    wanted = msgspec.json.decode(sys.stdin.buffer.read(), type=Wanted)
    try:
        done = take(wanted)
    except Retryable as error:
        cause = error.__cause__ or error
        advice = "" if wanted.embedded else " Check DATABASE_URL, and that the server takes connections from here."
        sys.exit(f"The database does not answer ({masked(str(cause).splitlines()[0])}).{advice}")
    except AuricleError as error:
        sys.exit(str(error))
    except Exception as error:
        sys.stderr.write(masked(traceback.format_exc()))
        sys.exit(masked(f"{type(error).__name__}: {str(error).splitlines()[0]}"))
    sys.stdout.buffer.write(msgspec.json.encode(done))


if __name__ == "__main__":
    main()
