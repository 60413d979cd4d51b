"""What the operator's jobs do on a node: bring one model into the folder of models and verify it, or take it away.

`python -m auricle_gpu.caching bring FOLDER ORDER.json`, `… evict FOLDER MODEL DIGEST…`. Each line on stdout is JSON (`Line`);
on failure a sentence goes to the termination message, and the exit status says what kind of trouble it was. Killed at any
moment, the next one goes on.
"""

from __future__ import annotations

import argparse
import errno
import shutil
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum, StrEnum
from pathlib import Path

import msgspec

from auricle.errors import AuricleError, Invalid, Permanent, Retryable
from auricle_gpu.folders import (
    alone,
    discard,
    distrust,
    gather,
    leads_out,
    leftovers,
    link_known,
    opened,
    partial_of,
    publish,
    wrong_files,
)
from auricle_gpu.manifest import Manifest, ModelFile, checked, content, manifest_of
from auricle_gpu.sources import Source

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
TERMINATION = Path("/dev/termination-log")
"""Where Kubernetes looks for a container's last words."""
FETCHES = 2
"""Times that a file may come with wrong bytes before the job gives up."""


class Step(StrEnum):
    """What a job is at."""

    WAITING = "waiting"  # for another job on the same folder
    VERIFYING = "verifying"
    FETCHING = "fetching"


class Exit(IntEnum):
    """A job's exit status."""

    DONE = 0
    FULL = 28  # ENOSPC
    WRONG = 65  # sysexits' EX_DATAERR: other bytes than the order says
    AWAY = 75  # EX_TEMPFAIL
    REFUSED = 77  # EX_NOPERM, or whatever else only a person can change


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Which model, and where from. `kind` is one of `hf s3 http oci directory`; `endpoint`, `region`: of an S3 service, or of a
    hub, unless the credentials name others."""

    model: str
    kind: str
    uri: str
    revision: str = ""
    endpoint: str = ""
    region: str = ""
    files: tuple[ModelFile, ...]

    @property
    def digest(self) -> str:
        """Of the content."""
        return content(self.model, self.files)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a job's log: where it is, or (the last one) its `verdict`: `ready`, `evicted`, or the name of its `Exit`."""

    step: str = ""
    file: str = ""
    done: int = 0
    total: int = 0
    verdict: str = ""
    message: str = ""


class Full(AuricleError):
    """The volume has not enough room."""


class Wrong(Permanent):
    """The source serves other bytes than were ordered."""


Tell = Callable[[Line], None]


def bring(order: Order, models_dir: Path, source: Source, tell: Tell) -> bool:
    """See to it that the model's folder holds exactly what was ordered, verified to the last byte; whether anything changed.

    Raises `Full`, `Wrong`, `Permanent` (the source refuses), `Retryable` (it is away).
    """
    _check(order)
    with alone(models_dir, order.model, lambda: tell(Line(step=Step.WAITING, total=order.size))):
        right = _in_place(order, models_dir / order.model, tell)
        partial = partial_of(models_dir, order.model, order.digest)
        for stale in leftovers(models_dir, order.model):
            if right or stale != partial:
                discard(stale)
        if right:
            return False
        with _within_the_volume(order, models_dir, partial):
            opened(partial, order.files)
            linked = link_known(models_dir, partial, order.model, order.files)
            _fill(order, models_dir, partial, source, tell, FETCHES + bool(linked))
            manifest = Manifest(model=order.model, revision=order.revision, source=order.uri, files=order.files)
            publish(partial, manifest)
    return True


def evict(model: str, digests: Collection[str], models_dir: Path) -> bool:
    """Take the model's folder away if its content is one of `digests`, or unverified; whether it was there."""
    with alone(models_dir, checked(model), lambda: None):
        target = models_dir / model
        manifest = manifest_of(target)
        there = target.is_dir() and (manifest is None or content(manifest.model, manifest.files) in digests)
        for digest in digests:
            discard(partial_of(models_dir, model, digest))
        if there:
            distrust(target)
            shutil.rmtree(target)
    return there


def _check(order: Order) -> None:
    checked(order.model)
    for file in order.files:
        if leads_out(file.path):
            raise Invalid(f"The path {file.path!r} leads out of the model's folder, or is one of ours: correct spec.files.")


def _in_place(order: Order, target: Path, tell: Tell) -> bool:
    """Whether the folder in place is what was ordered. If it only says so, nobody is to believe it any more."""
    manifest = manifest_of(target)
    if manifest is None or manifest.model != order.model or content(order.model, manifest.files) != order.digest:
        return False
    if not wrong_files(target, order.files, _telling(Step.VERIFYING, order, tell)):
        return True
    distrust(target)
    return False


def _fill(order: Order, models_dir: Path, partial: Path, source: Source, tell: Tell, times: int) -> None:
    """Fetch and verify until `partial` is right; what comes with wrong bytes is thrown away and fetched again."""
    for _ in range(times):
        _room(order, models_dir, partial)
        gather(source, order.files, partial, _telling(Step.FETCHING, order, tell))
        wrong = wrong_files(partial, order.files, _telling(Step.VERIFYING, order, tell))
        if not wrong:
            return
        for path in wrong:
            (partial / path).unlink(missing_ok=True)
    path, how = next(iter(wrong.items()))
    raise Wrong(
        f"{path} of {order.model} {how}, as {order.uri} serves it; it was thrown away. Correct spec.files, or what lies there."
    )


def _room(order: Order, models_dir: Path, partial: Path) -> None:
    missing = order.size - sum(_size(partial / file.path) for file in order.files)
    free = shutil.disk_usage(models_dir).free
    if missing > free:
        raise Full(_full(order, missing, free))


def _full(order: Order, missing: int, free: int) -> str:
    return (
        f"The volume is full: {order.model} needs {missing} more bytes and {free} are free. Free space on the node, give the "
        f"storage a budget so that unused models leave, or choose a larger volume."
    )


@contextmanager
def _within_the_volume(order: Order, models_dir: Path, partial: Path) -> Iterator[None]:
    """The disk's errors, in words. A full disk harms everybody on the node: what was gathered is given back."""
    try:
        yield
    except Full:
        discard(partial)
        raise
    except OSError as error:
        if error.errno in FULL_DISK:
            free = shutil.disk_usage(models_dir).free
            missing = order.size - sum(_size(partial / file.path) for file in order.files)
            discard(partial)
            raise Full(_full(order, missing, free)) from error
        if error.errno in CLOSED:
            raise Permanent(
                f"The models' volume cannot be written ({error.strerror}): its folder has to belong to the group 65532."
            ) from error
        raise


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _telling(step: Step, order: Order, tell: Tell) -> Callable[[ModelFile, int], None]:
    """Progress of `step`, told for each file and each percent."""
    told: set[tuple[str, int]] = set()

    def progress(file: ModelFile, done: int) -> None:
        now = (file.path, done * 100 // max(1, order.size))
        if now not in told:
            told.add(now)
            tell(Line(step=step, file=file.path, done=done, total=order.size))

    return progress


def source_of(order: Order, credentials: Path | None, folder: Path | None) -> Source:
    """The place that the order names. `credentials` is a mounted Secret, `folder` where a directory of the node is mounted."""

    def given(name: str) -> str:
        path = credentials / name if credentials else None
        return path.read_text().strip() if path and path.is_file() else ""

    match order.kind:
        case "hf":
            from auricle_gpu.sources.hub import HuggingFace

            return HuggingFace(given("endpoint") or order.endpoint or None, token=given("token")).at(order.uri, order.revision)
        case "s3":
            from auricle_gpu.sources import s3

            endpoint, region = given("endpoint") or order.endpoint, given("region") or order.region
            return s3.prefix(order.uri, endpoint, region, given("access-key-id"), given("secret-access-key"))
        case "http":
            from auricle_gpu.sources import web

            return web.beneath(order.uri, given("token"))
        case "oci":
            from auricle_gpu.sources.oci import Registry

            signs = given("token"), given("username"), given("password")
            return Registry(order.uri, order.revision, token=signs[0], username=signs[1], password=signs[2])
        case "directory":
            from auricle_gpu.sources.directory import Directory

            return Directory(folder or Path(order.uri))
    raise Invalid(f"Nobody knows sources of the kind {order.kind!r}.")


def main(arguments: Sequence[str]) -> int:
    """One job, from its arguments to its exit status."""
    asked = _arguments(arguments)

    def tell(line: Line) -> None:
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        sys.stdout.flush()

    def failed(status: Exit, message: str) -> int:
        tell(Line(verdict=status.name.lower(), message=message))
        with suppress(OSError):  # there is none outside Kubernetes
            asked.termination.write_text(message[:4096])
        return status

    try:
        if asked.what == "evict":
            evict(asked.model, asked.digests, asked.models)
            tell(Line(verdict="evicted"))
            return Exit.DONE
        order = msgspec.json.decode(asked.order.read_bytes(), type=Order)
        source = source_of(order, asked.credentials, asked.directory)
        bring(order, asked.models, source, tell)
        tell(Line(verdict="ready", done=order.size, total=order.size))
    except Full as error:
        return failed(Exit.FULL, str(error))
    except Wrong as error:
        return failed(Exit.WRONG, str(error))
    except Retryable as error:
        return failed(Exit.AWAY, str(error))
    except (AuricleError, msgspec.DecodeError) as error:
        return failed(Exit.REFUSED, str(error))
    except OSError as error:
        return failed(Exit.AWAY, f"The disk or the network failed: {error}. It is tried again.")
    return Exit.DONE


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m auricle_gpu.caching", description=(__doc__ or "").partition("\n")[0])
    verbs = parser.add_subparsers(dest="what", required=True)
    bringing, evicting = verbs.add_parser("bring"), verbs.add_parser("evict")
    for verb in (bringing, evicting):
        verb.add_argument("models", type=Path, help="folder of models")
        verb.add_argument("--termination", type=Path, default=TERMINATION, help="file for the last words")
    bringing.add_argument("order", type=Path, help="JSON: which model, and where from")
    bringing.add_argument("--credentials", type=Path, help="folder with token, access-key-id, …: a mounted Secret")
    bringing.add_argument("--directory", type=Path, help="where a source of the kind directory is mounted")
    evicting.add_argument("model", help="the folder's name")
    evicting.add_argument("digests", nargs="+", help="contents that may go")
    return parser.parse_args(arguments)


def _leave(signum: int, frame: object) -> None:
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)  # as PID 1 nothing else would end this
    raise SystemExit(main(sys.argv[1:]))
