"""`auricle up`: the embedded host from its first process to its last.

`python -m auricle.runtime.local.up OPTIONS` with `Options` as JSON. This process is the supervisor: it stays small, so it
imports no web, database or command-line library; whatever needs one is a process of its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from auricle.errors import AuricleError
from auricle.runtime.local import hostfile, mounts, plan, planning, scale
from auricle.runtime.local.addresses import EVERYWHERE, answers, claimed, driver_named
from auricle.runtime.local.hostfile import HostFile, Lock, Running
from auricle.runtime.local.identity import LocalIdentity
from auricle.runtime.local.keys import Keys
from auricle.runtime.local.postgres import ENDING, Postgres
from auricle.runtime.local.stepwords import DATABASE, LOGINS, OWNER, Done, Embedded, Wanted
from auricle.runtime.local.supervisor import Child, Stopped, Supervisor, program
from auricle.runtime.settings import ApiDocs, child_environment, default_data_dir, from_environment

PYTHON = (sys.executable, "-m")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says. `chaos` is the broker's (tests); `catalogue` prints the functions as JSON."""

    data: str
    port: int = 8080
    host: str = "127.0.0.1"
    isolate: bool = False
    chaos: str = ""
    catalogue: tuple[str, ...] = (*PYTHON, "auricle.deploy.catalogue")


class Host:
    """One run of the embedded host."""

    def __init__(self, options: Options, variables: Mapping[str, str], say: Callable[[str], None]) -> None:
        """`variables` is the environment that this was started in; `say` shows a line to the person."""
        self._options = options
        self._variables = variables
        self._settings = from_environment(variables)
        self._say = say
        self._data = Path(options.data).expanduser().resolve()
        self._keys = Keys(self._data / "secrets.json")
        self._began = time.time()
        self._ready = False
        self._broker_port = 0
        self._postgres: Postgres | None = None

    def run(self) -> None:
        """Serve until somebody asks to stop; raises `CannotStart`."""
        mounts.refuse_unfit(self._data)
        mounts.make_private(self._data)
        log_to(self._data / "logs" / "host.log")
        with Lock(self._data), claimed(self._options.host, self._options.port) as public, claimed("127.0.0.1", 0) as events:
            self._tidy()
            with claimed("127.0.0.1", 0) as free:
                self._broker_port = free.getsockname()[1]
            try:
                with Supervisor(self._data / "logs", self._note) as supervisor, contextlib.suppress(Stopped):
                    self._start(supervisor, public, events)
                    supervisor.watch()
                    self._say("Stopping …")
                    public.close()  # nobody new comes in while the others finish
            finally:
                if self._postgres is not None:
                    self._postgres.forget_sockets()
                hostfile.host_path(self._data).unlink(missing_ok=True)
        self._say("Auricle has stopped. `auricle up` goes on where it was.")

    def _start(self, supervisor: Supervisor, public: socket.socket, events: socket.socket) -> None:
        """Everything in order; each waits until the one before is ready."""
        self._say("Starting Auricle …")
        migrate_url, app_url = self._database(supervisor)
        wanted = self._wanted(migrate_url, app_url)
        base = planning.without_secrets(self._variables) | {"MALLOC_ARENA_MAX": "2", "TMPDIR": str(self._data / "tmp")}
        entries = planning.read_catalogue(supervisor.run("catalogue", self._options.catalogue, base))
        first = (*PYTHON, "auricle.runtime.local.firststeps")
        done = msgspec.json.decode(supervisor.run("first-steps", first, base, msgspec.json.encode(wanted)), type=Done)
        site = self._site(migrate_url, app_url, events.getsockname()[1])
        plan_path = self._data / "run" / "plan.json"
        plan.write(plan_path, planning.plan_of(entries, site))
        supervisor.start(self._broker(plan_path, base))
        supervisor.start(self._gateway(plan_path, base | planning.gateway_environment(entries, site), public, events))
        self._ready = True
        self._note(supervisor)
        self._welcome(done)

    def _database(self, supervisor: Supervisor) -> tuple[str, str]:
        """Start our PostgreSQL, unless a database is given; the addresses for migrations and for functions."""
        if self._settings.database_url:
            url = driver_named(self._settings.database_url)
            return url, url
        self._postgres = postgres = Postgres(self._data)
        postgres.prepare()
        supervisor.start(Child("database", postgres.spawn, postgres.ready, ENDING))
        return postgres.url(OWNER, DATABASE), postgres.url(LOGINS[0], DATABASE)

    def _wanted(self, migrate_url: str, app_url: str) -> Wanted:
        embedded = None
        if self._postgres is not None:
            passwords = {role: self._keys[role] for role in (OWNER, *LOGINS)}
            embedded = Embedded(superuser_url=self._postgres.superuser_url, database=DATABASE, passwords=passwords)
        token = str(self._data / "owner-token")
        return Wanted(owner_url=migrate_url, app_url=app_url, token_file=token, embedded=embedded)

    def _site(self, migrate_url: str, app_url: str, events_port: int) -> planning.Site:
        s = self._settings
        internal = s.blobs_internal_url or s.s3_endpoint or f"http://127.0.0.1:{self._options.port}"
        values = {
            "broker_url": self._broker_url,
            "blobs_internal_url": internal,
            "blobs_public_url": s.blobs_public_url or s.s3_endpoint or self._url,
            "object_origins": s.object_origins or internal,
            "api_docs": self._variables.get("API_DOCS") or ApiDocs.PUBLIC,  # to try things out
            "models_dir": s.models_dir or str(default_data_dir() / "models"),
        }
        secrets = {
            "database_url": app_url,
            "event_key": s.event_key or self._keys["event_key"],
            "gateway_key": s.gateway_key or self._keys["gateway_key"],
            "sealing_keys": s.sealing_keys or self._keys["sealing_keys"],
            "smtp_password": s.smtp_password,
            "blobs_key": s.blobs_key or self._keys["blobs_key"],
            "s3_access_key_id": s.s3_access_key_id,
            "s3_secret_access_key": s.s3_secret_access_key,
            "bucket_token": s.bucket_token or ("" if s.s3_endpoint else self._keys["bucket_token"]),
            "ephemeral_key": s.ephemeral_key or self._keys["ephemeral_key"],
            "redis_url": s.redis_url,
            **LocalIdentity(self._data).settings,
        }
        workers = self._variables.get("AURICLE_SPEECH_WORKERS", "")
        return planning.Site(
            data=self._data,
            owner_url=migrate_url,
            broker_port=self._broker_port,
            gateway_port=self._options.port,
            events_port=events_port,
            isolated=self._options.isolate,
            machine=scale.Machine(
                cores=scale.usable_cores(),
                speech_workers=int(workers) if workers.isdigit() else 0,
                accelerator=s.speech_device != "cpu" and scale.accelerator_present(),
            ),
            values=values,
            secrets=secrets,
        )

    def _broker(self, plan_path: Path, env: Mapping[str, str]) -> Child:
        chaos = ("--chaos", self._options.chaos) if self._options.chaos else ()
        command = (*PYTHON, "auricle.runtime.local.broker", str(plan_path), "--with-parent", *chaos)
        return program("broker", command, env, lambda: answers("127.0.0.1", self._broker_port, "/healthz"), patience=2.7)

    def _gateway(self, plan_path: Path, env: Mapping[str, str], public: socket.socket, events: socket.socket) -> Child:
        """It inherits its sockets, listening already: while it is started again, people wait instead of being refused."""
        sockets = [public] if self._options.isolate else [public, events]
        places = [f"fd:{s.fileno()}" for s in sockets]
        command = (*PYTHON, "auricle.runtime.local.gateway", str(plan_path), *places)
        fds = [s.fileno() for s in sockets]
        host, port = sockets[-1].getsockname()[:2]
        return program("gateway", command, env, lambda: answers(host, port, "/readyz"), patience=0.9, fds=fds)

    @property
    def _url(self) -> str:
        host = EVERYWHERE.get(self._options.host, self._options.host)
        return f"http://[{host}]:{self._options.port}" if ":" in host else f"http://{host}:{self._options.port}"

    @property
    def _broker_url(self) -> str:
        return f"http://127.0.0.1:{self._broker_port}{planning.BROKER_PATH}"

    def _note(self, supervisor: Supervisor) -> None:
        """Write down what runs, for `auricle status` and `auricle down`."""
        found = tuple(Running(name=n, pid=p, since=s, restarts=r) for n, p, s, r in supervisor.processes)
        host = HostFile(
            supervisor=os.getpid(),
            url=self._url,
            broker_url=f"http://127.0.0.1:{self._broker_port}",
            since=self._began,
            database="yours" if self._settings.database_url else "embedded",
            isolated=self._options.isolate,
            ready=self._ready,
            processes=found,
        )
        with contextlib.suppress(OSError):  # a full disk must not end the supervisor
            hostfile.write(hostfile.host_path(self._data), host)

    def _tidy(self) -> None:
        """Forget half-received bodies of an earlier life."""
        for path in (self._data / "tmp").iterdir():
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def _welcome(self, done: Done) -> None:
        made = " (made just now)" if done.token_made else ""
        self._say(f"Auricle is up after {time.time() - self._began:.1f} s.\n")
        if done.setup_code:
            self._say(f"  First     make yourself the owner: POST /api/setup with the code {done.setup_code},")
            self._say(f"            described at {self._url}/api/docs\n")
        self._say(f"  Address   {self._url}  (interface: {self._url}/api/docs)")
        self._say(f"  Token     {self._data / 'owner-token'}{made}")
        self._say(f"  Data      {self._data}")
        self._say(f"  Logs      {self._data / 'logs'}\n")
        if self._options.host not in ("127.0.0.1", "localhost", "::1") and not self._settings.blobs_public_url:
            self._say("  Others can reach this machine's port. Set BLOBS_PUBLIC_URL to the address that their browsers use.\n")
        self._say("Ctrl-C stops it.")


def log_to(path: Path) -> None:
    """What became of children goes to the terminal and to a file."""
    lines = logging.Formatter("%(asctime)s %(message)s")
    for handler in (logging.StreamHandler(), logging.FileHandler(path)):
        handler.setFormatter(lines)
        logging.getLogger("auricle").addHandler(handler)


def main(argument: str) -> int:
    """Run the host; the exit status says whether it ended well."""

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    try:
        Host(msgspec.json.decode(argument, type=Options), child_environment({}), say).run()
    except AuricleError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
