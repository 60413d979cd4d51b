"""What is run once per release, and what keeps a way back: jobs, schema, dumps, dead letters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auricle.cli.clusterdoctor.functions import IMAGE
from auricle.cli.clusterdoctor.seen import Seen, Sight, holds, reason, seconds_of
from auricle.cli.clusterdoctor.table import Said, check, note, ok, problem
from auricle.deploy.lint.places import Place

JOBS = {"migrate": "brings the database to the release's schema", "bucket-setup": "makes the bucket what it must be"}
BACKUP = "postgres-backup"
LATE = 26 * 3600.0
"""Seconds without a dump, beyond which a night was missed."""
_REVISION = re.compile(r"at revision (\w+)")


@check(Sight.JOBS)
def jobs(seen: Seen) -> Iterator[Said]:
    """The jobs of a release: none failed or still at it. They are swept an hour after their end."""
    bad = 0
    for name, does in JOBS.items():
        job = seen.named(Sight.JOBS, name)
        if job is None or holds(job, "Complete"):
            continue
        bad += 1
        if holds(job, "Failed"):
            yield problem(
                f"The job {name}, which {does}, failed: {reason(job, 'Failed')}.",
                f"{seen.kubectl(f'logs job/{name}')}; mend it; {seen.kubectl(f'delete job {name}')}; apply the overlay again.",
            )
        else:
            yield note(f"The job {name}, which {does}, is not done yet.", seen.kubectl(f"logs -f job/{name}"))
    there = [name for name in JOBS if seen.named(Sight.JOBS, name)]
    if not bad:
        yield ok("done" if there else "none waits or has failed (finished ones are swept after an hour)")


@check(Sight.JOBS, Sight.SERVICES)
def schema(seen: Seen) -> Iterator[Said]:
    """The database's schema: migrated by the image that the functions run, to this release's head."""
    job = seen.named(Sight.JOBS, "migrate")
    found = _REVISION.search(seen.migrated)
    again = f"{seen.kubectl('delete job migrate')}, and apply the overlay again."
    used = {image for service in seen.of(Sight.SERVICES) if service.labels.get(IMAGE) == "api" for image in _images(service)}
    migrated_by = _images(job) if job is not None else []
    if job is None:
        yield ok(
            "the migrate job has been swept, so nothing waits for it; a database that is behind keeps /readyz from answering"
        )
    elif used and migrated_by and not used & set(migrated_by):
        yield problem(f"The schema was last migrated by {migrated_by[0]}, and functions run {min(used)}.", again)
    elif found and seen.head and found[1] != seen.head:
        yield note(
            f"The schema is at {found[1]}, and this command's release is at {seen.head}.",
            f"Use the command of the deployed release, or upgrade: {again}",
        )
    elif holds(job, "Complete"):
        yield ok(f"at {found[1]}, the head" if found and seen.head else "migrated by the image that the functions run")


def _images(place: Place) -> list[str]:
    return [(c / "image").text for c in (place / "spec" / "template" / "spec" / "containers").each()]


@check(Sight.CRON_JOBS, Sight.STATEFUL_SETS)
def backup(seen: Seen) -> Iterator[Said]:
    """The nightly dump: there, not suspended, and its last one from last night."""
    job = seen.named(Sight.CRON_JOBS, BACKUP)
    if job is None:
        if seen.named(Sight.STATEFUL_SETS, "postgres"):
            yield problem(
                "PostgreSQL runs here and nothing makes dumps of it.", "Apply components/postgres, whose CronJob does."
            )
        else:
            yield ok("the database is somebody else's, and so are its dumps")
        return
    last = seconds_of((job / "status" / "lastSuccessfulTime").text)
    born = seconds_of((job / "metadata" / "creationTimestamp").text) or seen.now
    now = seen.server_clock if seen.server_clock is not None else seen.now
    by_hand = seen.kubectl(f"create job backup-now --from=cronjob/{BACKUP}")
    if (job / "spec" / "suspend").value:
        yield problem(
            "The nightly dump is suspended.",
            seen.kubectl(f'patch cronjob {BACKUP} --type=merge -p \'{{"spec":{{"suspend":false}}}}\''),
        )
    elif last is not None and now - last > LATE:
        yield problem(f"The last dump that succeeded is {(now - last) / 3600:.0f} hours old.", f"{by_hand}, then read its log.")
    elif last is None and now - born > LATE:
        yield problem("No dump has ever succeeded.", f"{by_hand}, then read its log.")
    elif last is None:
        yield ok(f"the first dump is due ({(job / 'spec' / 'schedule').text})")
    else:
        yield ok(f"last dump {(now - last) / 3600:.0f} hours ago")


@check()
def dead_letters(seen: Seen) -> Iterator[Said]:
    """Events that wait for a person; asked only of a named server."""
    if seen.silence:
        yield problem(
            f"The server does not tell its dead letters: {seen.silence.rstrip('. ')}.",
            "Check --server and its certificate (SSL_CERT_FILE), and that --token is an operator's.",
        )
    elif seen.letters:
        yield note(f"{seen.letters} dead letters are open.", "auricle dead-letters list --server …, then replay each")
    elif seen.letters == 0:
        yield ok("none open")
