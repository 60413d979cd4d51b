"""What `auricle doctor` looks at: each check gives one finding, in a sentence that says what to do."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

from auricle.errors import AuricleError
from auricle.runtime.local import hostfile, mounts, plan
from auricle.runtime.local.account import programs_for
from auricle.runtime.local.addresses import claimed, driver_named
from auricle.runtime.settings import Settings, default_data_dir

GIB = 2**30
LITTLE_DISK = 5 * GIB
"""Bytes. An hour of video and what is made of it; below this a person should know."""
NO_DISK = GIB
"""Bytes. Below this the database may stop."""
LITTLE_MEMORY = 2 * GIB
"""Bytes available: the host and two workers with a small model."""
CLOCK_SECONDS = 5.0
"""Clocks further apart than this break signed URLs and leases sooner or later."""
PLATFORMS = {("linux", "x86_64"), ("linux", "aarch64"), ("linux", "arm64"), ("darwin", "arm64")}


class Grade(StrEnum):
    """How a check came out."""

    OK = "ok"
    NOTE = "note"  # worth knowing; nothing is broken
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True):
    """One line: what was looked at, and what was seen."""

    name: str
    grade: Grade
    text: str


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What is checked: a data folder and a port, with these settings."""

    data: Path
    port: int
    settings: Settings


def findings(place: Place) -> Iterator[Finding]:
    """Every check's finding, one after the other; a check that breaks is a finding too."""
    for name, check in CHECKS.items():
        try:
            grade, text = check(place)
        except AuricleError as error:
            grade, text = Grade.PROBLEM, str(error)
        except Exception as error:  # a doctor must not faint
            grade, text = Grade.PROBLEM, f"This could not be checked: {type(error).__name__}: {error}"
        yield Finding(name, grade, text)


Outcome = tuple[Grade, str]


def python(place: Place) -> Outcome:
    """The interpreter and the machine."""
    version = platform.python_version()
    here = (sys.platform, platform.machine().lower())
    if here not in PLATFORMS:
        return (
            Grade.PROBLEM,
            f"{here[0]} on {here[1]} is not supported. Use Linux (x86-64, arm64), macOS (Apple silicon) or WSL2.",
        )
    return Grade.OK, f"Python {version} on {here[0]} {here[1]}"


def folder(place: Place) -> Outcome:
    """The data folder: local, ours, writable."""
    mounts.refuse_unfit(place.data)
    kind = mounts.filesystem_of(place.data) or "unknown file system"
    nearest = place.data
    while not nearest.exists():
        nearest = nearest.parent
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Grade.PROBLEM, f"{nearest} is not writable for you. Mend its owner, or choose another folder with --data."
    if nearest == place.data:
        with tempfile.TemporaryFile(dir=place.data):
            pass
        return Grade.OK, f"{place.data} ({kind})"
    return Grade.OK, f"{place.data} will be made at the first start ({kind})"


def disk(place: Place) -> Outcome:
    """Room for recordings."""
    nearest = place.data
    while not nearest.exists():
        nearest = nearest.parent
    free = shutil.disk_usage(nearest).free
    text = f"{free / GIB:.1f} GiB free"
    if free < NO_DISK:
        return Grade.PROBLEM, f"Only {text}. Make room, or choose a folder on another disk with --data."
    return (Grade.NOTE, f"{text}: little for recordings. Make room soon.") if free < LITTLE_DISK else (Grade.OK, text)


def memory(place: Place) -> Outcome:
    """Memory for models."""
    import psutil

    free = psutil.virtual_memory().available
    text = f"{free / GIB:.1f} GiB available"
    if free < LITTLE_MEMORY:
        return Grade.NOTE, f"{text}. Close something, use a small model, or set AURICLE_SPEECH_WORKERS=1."
    return Grade.OK, text


def port(place: Place) -> Outcome:
    """The web address."""
    host = hostfile.read(place.data)
    if host is not None and host.url.endswith(f":{place.port}"):
        return Grade.OK, f"Auricle answers at {host.url}"
    with claimed("127.0.0.1", place.port):
        return Grade.OK, f"port {place.port} is free"


def database(place: Place) -> Outcome:
    """Reachable, and of this release's schema."""
    url = _database_url(place)
    if url is None:
        programs_for(None)
        version = place.data / "postgres" / "PG_VERSION"
        if not version.exists():
            return Grade.OK, "the embedded PostgreSQL is made at the first start"
        return Grade.OK, f"the embedded PostgreSQL {version.read_text().strip()} is stopped; it is migrated at each start"
    from sqlalchemy import text as sql

    from auricle.runtime.database import Database, engine_for

    database = Database(engine_for(url, 1))
    try:
        with database.work() as connection:
            version_text = str(connection.execute(sql("show server_version")).scalar_one())
            known = connection.execute(sql("select to_regclass('alembic_version') is not null")).scalar_one()
            revision = connection.execute(sql("select version_num from alembic_version")).scalar() if known else None
    finally:
        database.close()
    newest = _newest_revision()
    if int(version_text.split(".")[0]) < 15:
        return Grade.PROBLEM, f"PostgreSQL {version_text} is too old: 15 or newer with pgvector is needed."
    if revision != newest:
        return Grade.PROBLEM, f"The schema is at {revision or 'nothing'}, this release needs {newest}. Run `auricle migrate`."
    return Grade.OK, f"PostgreSQL {version_text}, schema {revision}"


def models(place: Place) -> Outcome:
    """The chosen speech models, byte by byte."""
    from auricle_gpu.models import verify

    chosen = (place.settings.transcribe_model, place.settings.diarize_model)
    for name in chosen:
        verify(name, _models_folder(place))
    if place.settings.transcribe_model == "whisper-demo":
        return Grade.NOTE, "only the demo model is chosen: it knows 249 English words. Get a real one: `auricle models list`."
    return Grade.OK, ", ".join(chosen)


def clock(place: Place) -> Outcome:
    """This machine's clock against the disk's, the database's and the network's."""
    with tempfile.TemporaryDirectory() as folder_name:
        probe = Path(folder_name) / "probe"
        probe.touch()
        away = abs(probe.stat().st_mtime - time.time())
    if away > CLOCK_SECONDS:
        return Grade.PROBLEM, f"The clock of the disk is {away:.0f} s away from this machine's. Set the clock."
    away = _database_clock(place)
    if away > CLOCK_SECONDS:
        return Grade.PROBLEM, f"The database's clock is {away:.0f} s away from this machine's. Turn on NTP on both."
    if time.time() < 1_750_000_000:
        return Grade.PROBLEM, "This machine's clock is years behind: links would be refused. Set the clock."
    synchronised = _synchronised()
    if synchronised is False:
        return Grade.NOTE, "The clock is not kept by NTP: turn it on (`timedatectl set-ntp true`), because links expire by it."
    return Grade.OK, "kept by NTP" if synchronised else "in step with disk and database"


CHECKS: dict[str, Callable[[Place], Outcome]] = {
    "python": python,
    "data": folder,
    "disk": disk,
    "memory": memory,
    "port": port,
    "database": database,
    "models": models,
    "clock": clock,
}


def _database_url(place: Place) -> str | None:
    """A database that can be asked now: the given one, else the running host's."""
    if place.settings.database_url:
        return driver_named(place.settings.database_url)
    host = hostfile.read(place.data)
    if host is None or not host.ready:
        return None
    return plan.read(place.data / "run" / "plan.json").database_url


def _database_clock(place: Place) -> float:
    """Seconds between the database's clock and ours; 0 while there is no database to ask."""
    url = _database_url(place)
    if url is None:
        return 0.0
    from sqlalchemy import text as sql

    from auricle.runtime.database import Database, engine_for

    database = Database(engine_for(url, 1))
    try:
        with database.work() as connection:
            theirs = float(connection.execute(sql("select extract(epoch from clock_timestamp())")).scalar_one())
            return abs(theirs - time.time())
    finally:
        database.close()


def _newest_revision() -> str | None:
    from alembic.script import ScriptDirectory

    import auricle.schema

    return ScriptDirectory(str(Path(auricle.schema.__file__).parent)).get_current_head()


def _models_folder(place: Place) -> Path:
    return Path(place.settings.models_dir) if place.settings.models_dir else default_data_dir() / "models"


def _synchronised() -> bool | None:
    """Whether NTP keeps the clock; None where nobody can say."""
    if shutil.which("timedatectl") is None:
        return None
    command = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(said)
