"""The nightly dump and the way back, with the manifests as they are: `components/postgres` in a namespace of its own."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from cluster.deployment import CLUSTER_HOME, ROOT, Refused, fresh_folder, kubectl, objects, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NAMESPACE = os.environ.get("AURICLE_BACKUP_NAMESPACE", "auricle-backup")
CLAIMS = ("data-postgres-0", "postgres-backup")


@dataclass(frozen=True)
class Database:
    """The component in `namespace`; people and jobs reach it as they do in a deployment."""

    namespace: str
    passwords: dict[str, str]

    def kubectl(self, *words: str, given: str | None = None, timeout: float = 120) -> str:
        return kubectl("-n", self.namespace, *words, given=given, timeout=timeout)

    def ask(self, statement: str, user: str = "auricle_app_a", database: str = "auricle") -> str:
        """What psql answers to `user`, who comes by the network with a password, as functions do."""
        command = ["psql", "-XqtA", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", user, "-d", database, "-c", statement]
        environment = ["env", f"PGPASSWORD={self.passwords[user]}"]
        return self.kubectl("exec", "postgres-0", "-c", "postgres", "--", *environment, *command).strip()

    def run(self, cronjob: str, name: str, **environment: str) -> tuple[bool, str]:
        """Run the pattern `cronjob` once, as an administrator does; returns whether it succeeded, and what it said."""
        made = yaml.safe_load(
            self.kubectl("create", "job", name, f"--from=cronjob/{cronjob}", "--dry-run=client", "-o", "yaml")
        )
        (container,) = made["spec"]["template"]["spec"]["containers"]
        for variable in container["env"]:
            if variable["name"] in environment:
                variable["value"] = environment[variable["name"]]
        self.kubectl("apply", "-f", "-", given=yaml.safe_dump(made))

        def ended() -> str:
            (job,) = objects("-n", self.namespace, "job", name)
            over = [c["type"] for c in job.get("status", {}).get("conditions", ()) if c["status"] == "True"]
            return next((kind for kind in over if kind in ("Complete", "Failed")), "")

        state = until(f"the job {name} ends", ended, 150, 0.5)
        return state == "Complete", self.kubectl("logs", f"job/{name}", "--all-containers")


@pytest.fixture(scope="module")
def database(cluster: None) -> Iterator[Database]:
    """A server made by the component, empty but for its roles."""
    _remove()
    folder = fresh_folder(NAMESPACE)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = ("POSTGRES_PASSWORD", "AURICLE_MIGRATE_PASSWORD", "AURICLE_APP_PASSWORD", "AURICLE_APP_NEXT_PASSWORD")
    words = {name: secrets.token_urlsafe(12) for name in names}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": [os.path.relpath(ROOT / "manifests/base/policies", folder)],
        "components": [os.path.relpath(ROOT / "manifests/components/postgres", folder)],
        "secretGenerator": [
            {
                "name": "postgres",
                "literals": [f"{name}={word}" for name, word in words.items()],
                "options": {"disableNameSuffixHash": True},
            }
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    for volume in map(_volume, CLAIMS):
        kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump(volume))
    kubectl("apply", "--server-side", "-k", str(folder))
    try:
        kubectl("-n", NAMESPACE, "rollout", "status", "statefulset/postgres", "--timeout=150s", timeout=160)
        users = dict(zip(("postgres", "auricle_migrate", "auricle_app_a", "auricle_app_b"), words.values(), strict=True))
        yield Database(NAMESPACE, users)
    finally:
        if os.environ.get("KEEP") != "1":
            _remove()
            shutil.rmtree(folder, ignore_errors=True)


def _volume(claim: str) -> dict[str, Any]:
    """This node has no provisioner. Bound beforehand, so that no other suite's claim takes it."""
    name = f"{NAMESPACE}-{claim}"
    path = CLUSTER_HOME / "pv" / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    path.chmod(0o777)
    node = objects("nodes")[0]["metadata"]["name"]
    default = "storageclass.kubernetes.io/is-default-class"
    classes = [c["metadata"] for c in objects("storageclass")]
    given = next((c["name"] for c in classes if c.get("annotations", {}).get(default) == "true"), "")
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": {"auricle.dev/lane": NAMESPACE}},
        "spec": {
            "capacity": {"storage": "50Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": given,  # as the API server fills it in for a claim that names none
            "claimRef": {"namespace": NAMESPACE, "name": claim},
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def _remove() -> None:
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", "--timeout=200s", timeout=210)
    # Also when the namespace is gone: what was released is bound to nobody again.
    kubectl("delete", "pv", "-l", f"auricle.dev/lane={NAMESPACE}", timeout=60)


@pytest.fixture(scope="module")
def rows(database: Database) -> str:
    """A table as migrations make them, with rows as functions write them; what a select of it answers."""
    database.ask(
        """
        create table notes (id bigint generated always as identity primary key, words text not null, voice vector(3));
        create index on notes using hnsw (voice vector_cosine_ops);
        grant usage on schema public to auricle_app;
        grant select, insert, update, delete on all tables in schema public to auricle_app;
        grant usage, select on all sequences in schema public to auricle_app;
        """,
        user="auricle_migrate",
    )
    database.ask("insert into notes (words, voice) select 'Größe ' || n, array[n, 1, 0]::vector from generate_series(1, 500) n")
    return read(database)


def read(database: Database) -> str:
    return database.ask("select count(*), md5(string_agg(id || words || voice::text, ',' order by id)) from notes")


def dumps(database: Database) -> list[str]:
    """The names in the backup volume."""
    return sorted(path.name for path in (CLUSTER_HOME / "pv" / f"{NAMESPACE}-postgres-backup").glob("*.dump"))


def test_a_restore_gives_back_the_rows_their_owner_and_what_functions_may_do(database: Database, rows: str) -> None:
    succeeded, said = database.run("postgres-backup", "backup-1")
    assert succeeded, said
    assert len(dumps(database)) == 1
    database.ask("delete from notes where id % 2 = 0; update notes set words = 'wrong'")
    database.ask("drop index notes_voice_idx", user="auricle_migrate")
    assert read(database) != rows

    succeeded, said = database.run("postgres-restore", "restore-1")

    assert succeeded, said
    assert read(database) == rows
    assert database.ask("select tableowner from pg_tables where tablename = 'notes'") == "auricle_migrate"
    assert "hnsw" in database.ask("select indexdef from pg_indexes where indexname = 'notes_voice_idx'")
    assert database.ask("insert into notes (words) values ('next') returning id", user="auricle_app_b") == "501"
    with pytest.raises(Refused, match="permission denied"):
        database.ask("create table mine (id int)")


def test_the_database_of_before_a_restore_is_still_there(database: Database, rows: str) -> None:
    names = database.ask("select datname from pg_database where datname like 'before_%'", user="postgres", database="postgres")
    assert names, "nothing was kept"
    last = names.splitlines()[-1]
    database.ask(f"alter database {last} allow_connections true", user="postgres", database="postgres")
    assert database.ask("select distinct words from notes", user="postgres", database=last) == "wrong"


def test_a_damaged_dump_is_refused_and_nothing_changes(database: Database, rows: str) -> None:
    succeeded, said = database.run("postgres-backup", "backup-2")
    assert succeeded, said
    before = read(database)
    newest = dumps(database)[-1]
    path = CLUSTER_HOME / "pv" / f"{NAMESPACE}-postgres-backup" / newest
    path.write_bytes(path.read_bytes()[:-100])

    succeeded, said = database.run("postgres-restore", "restore-2", BACKUP=newest)

    assert not succeeded
    assert "not what was written" in said
    assert read(database) == before


def test_only_the_newest_dumps_are_kept(database: Database, rows: str) -> None:
    for number in (3, 4):
        succeeded, said = database.run("postgres-backup", f"backup-{number}", KEEP="2")
        assert succeeded, said
    kept = dumps(database)
    assert len(kept) == 2
    volume = CLUSTER_HOME / "pv" / f"{NAMESPACE}-postgres-backup"
    assert sorted(p.name for p in volume.iterdir() if p.name != "lost+found") == sorted([*kept, *(f"{k}.sha256" for k in kept)])
