"""Images that stand in for public ones behave as our manifests count on."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pg8000.native
import pytest

from cluster.images.built import Container, image, started

pytestmark = pytest.mark.cluster

COMPONENTS = Path(__file__).parents[3] / "manifests" / "components"
COMPONENT = COMPONENTS / "postgres"
POSTGRES = 999
PASSWORDS = {
    "POSTGRES_PASSWORD": "super 'quoted'",
    "AURICLE_MIGRATE_PASSWORD": "owner",
    "AURICLE_APP_PASSWORD": "app",
    "AURICLE_APP_NEXT_PASSWORD": "b",
}


def asked(container: Container, port: int, user: str, password: str, question: str) -> object:
    """The first value of a query, as soon as the server answers by TCP."""
    end = time.monotonic() + 60
    while True:
        assert container.process.poll() is None, container.printed()
        try:
            with contextlib.closing(
                pg8000.native.Connection(
                    user, host="127.0.0.1", port=port, password=password, database="auricle", ssl_context=False
                )
            ) as connection:
                return connection.run(question)[0][0]
        except (pg8000.native.InterfaceError, pg8000.native.DatabaseError) as error:
            refused = isinstance(error, pg8000.native.InterfaceError) or error.args[0].get("C") == "57P03"  # still starting
            if not refused or time.monotonic() > end:
                raise AssertionError(f"{error}\n{container.printed()}") from error
            time.sleep(0.1)


@contextlib.contextmanager
def database() -> Iterator[Container]:
    """PostgreSQL as our component starts it, on a port of the test's own, for the network is this machine's."""
    environment = PASSWORDS | {
        "POSTGRES_DB": "auricle",
        "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256 --auth-local=scram-sha-256 --data-checksums",
    }
    with started(
        image("pgvector/pgvector:pg18"),
        environment,
        [
            "docker-entrypoint.sh",
            "sh",
            "-c",
            'exec docker-entrypoint.sh postgres -c config_file=/etc/postgresql/postgresql.conf -c port="$PORT"',
        ],
        user=POSTGRES,
        writable={"/var/lib/postgresql": "0777", "/var/run/postgresql": "0777", "/dev/shm": "1777"},
        mounts={
            COMPONENT / "postgresql.conf": "/etc/postgresql/postgresql.conf",
            COMPONENT / "roles.sql": "/docker-entrypoint-initdb.d/roles.sql",
        },
    ) as container:
        assert (
            asked(container, container.port, "postgres", PASSWORDS["POSTGRES_PASSWORD"], "show server_version_num") == "180004"
        )
        yield container


def test_postgres_starts_as_our_component_starts_it() -> None:
    with database() as container:
        assert asked(container, container.port, "auricle_migrate", "owner", "select '[1,2]'::vector <-> '[1,2]'::vector") == 0.0
        assert asked(container, container.port, "auricle_app_a", "app", "select current_user") == "auricle_app_a"
        with pytest.raises(AssertionError, match="28P01"):
            asked(container, container.port, "postgres", "wrong", "select 1")
        container.signal("INT")
        assert container.ended() == 0, container.printed()


def test_postgres_refuses_to_start_without_a_password() -> None:
    with started(image("pgvector/pgvector:pg18"), user=POSTGRES, writable={"/var/lib/postgresql": "0777"}) as container:
        assert container.ended() == 1
        assert "POSTGRES_PASSWORD" in container.printed()


def test_pgbouncer_takes_our_configuration(tmp_path: Path) -> None:
    with database() as postgres:
        assert asked(postgres, postgres.port, "auricle_app_a", "app", "select 1") == 1
        pooler = image(named("pgbouncer", "pgbouncer"))
        written = (COMPONENTS / "pgbouncer" / "pgbouncer.ini").read_text()
        assert "host=postgres port=5432" in written
        place = tmp_path / "pgbouncer.ini"
        users = tmp_path / "userlist.txt"
        users.write_text('"auricle_app_a" "app"\n')
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        here = written.replace("host=postgres port=5432", f"host=127.0.0.1 port={postgres.port}")
        place.write_text(here.replace("listen_port = 6432", f"listen_port = {port}"))
        for path in (tmp_path, place, users):
            path.chmod(0o755)
        with started(
            pooler,
            command=["/usr/bin/pgbouncer", "/etc/pgbouncer/pgbouncer.ini"],
            mounts={place: "/etc/pgbouncer/pgbouncer.ini", users: "/run/pgbouncer/userlist.txt"},
        ) as container:
            assert asked(container, port, "auricle_app_a", "app", "select current_user") == "auricle_app_a"
            container.signal("INT")
            assert container.ended() == 0, container.printed()


def test_the_gateway_has_nginx_with_njs(tmp_path: Path) -> None:
    gateway = COMPONENTS.parent / "base" / "gateway"
    module = next(line for line in (gateway / "nginx.conf").read_text().splitlines() if line.startswith("load_module"))
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"{module}\npid nginx.pid;\nevents {{}}\n"
        "http { js_import auricle from auricle.js; client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c;"
        " uwsgi_temp_path d; scgi_temp_path e; }\n"
    )
    config.chmod(0o644)
    command = ["nginx", "-t", "-p", "/tmp/", "-c", "/etc/auricle/nginx/nginx.conf"]
    folder = "/etc/auricle/nginx"
    mounts = {config: f"{folder}/nginx.conf", gateway / "auricle.js": f"{folder}/auricle.js"}
    with started(image("auricle-gateway"), command=command, mounts=mounts) as container:
        assert container.ended() == 0, container.printed()


def test_the_object_store_starts_with_a_read_only_root() -> None:
    environment = {
        "MINIO_ROOT_USER": "someone",
        "MINIO_ROOT_PASSWORD": "something-long",
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with started(
        image(named("object-store", "minio")),
        environment,
        ["/usr/bin/minio", "server", "--address", f":{port}", "/data"],
        writable={"/data": "0777"},
    ) as container:
        container.port = port
        container.ready("/minio/health/ready")


def named(component: str, word: str) -> str:
    """The public image that a component takes."""
    for path in sorted((COMPONENTS / component).glob("*.yaml")):
        if found := re.search(rf"(?m)^\s*image: (\S*{word}\S*)", path.read_text()):
            return found.group(1)
    raise AssertionError(f"components/{component} names no image with {word}.")
