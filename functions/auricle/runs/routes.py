"""Starting, watching, cancelling and retrying runs."""

from __future__ import annotations

from auricle.access.model import Principal
from auricle.contract.choices import Permission
from auricle.contract.cursors import uuid_cursor
from auricle.contract.function import route
from auricle.contract.http import Body, Page, PageQuery, Reply
from auricle.errors import Conflict, NotFound
from auricle.files.model import FileId, OptionsChange
from auricle.files.store import ChunkStore, FileStore
from auricle.notifications.store import EventLogStore
from auricle.ports.bus import Bus
from auricle.runs import actions
from auricle.runs.events import RetryRequested
from auricle.runs.model import Pace, Run, RunId, RunState, StepName, check_model
from auricle.runs.store import RunStore

NO_RUN = "There is no such run."


class NewRun(Body, frozen=True, kw_only=True):
    """A run to start. No `steps`: all of them; `diarize` alone implies what follows from it. `options` change the file's
    for this run only.
    """

    steps: tuple[StepName, ...] = ()
    options: OptionsChange | None = None
    supersede: bool = False


class RunQuery(PageQuery, frozen=True, kw_only=True):
    """Which runs."""

    file_id: FileId | None = None
    state: RunState | None = None


@route("POST /api/files/{file_id}/runs", permission=Permission.RUN, status=201)
def start_run(
    file_id: FileId, new: NewRun, runs: RunStore, files: FileStore, log: EventLogStore, bus: Bus, pace: Pace
) -> Reply[Run]:
    """Work on a file (again): everything, or only some steps on what earlier runs found."""
    file = files.get(file_id)
    options = new.options.applied_to(file.options) if file is not None and new.options is not None else None
    if file is not None:
        check_model(options or file.options, pace)
    run = actions.request(runs, files, log, bus, file_id, new.steps, options, new.supersede)
    return Reply(run, status=201, location=f"/api/runs/{run.id}")


@route("GET /api/runs", permission=Permission.READ)
def list_runs(query: RunQuery, who: Principal, runs: RunStore) -> Page[Run]:
    """Runs on files that the caller sees, newest first."""
    return uuid_cursor(
        query,
        lambda limit, before: runs.page(who.id, limit, RunId(before) if before else None, query.file_id, query.state),
    )


@route("GET /api/runs/{run_id}", permission=Permission.READ)
def get_run(run_id: RunId, runs: RunStore) -> Run:
    """One run with its steps."""
    return _found(run_id, runs)


@route("POST /api/runs/{run_id}/cancel", permission=Permission.RUN, status=202)
def cancel_run(run_id: RunId, runs: RunStore, log: EventLogStore, bus: Bus) -> Reply[Run]:
    """Stop a run: what is under way may finish, nothing more is begun."""
    run = _found(run_id, runs)
    if run.state.over and run.state is not RunState.CANCELLED:
        raise Conflict(f"This run is over: it {run.state}.")
    actions.cancel(runs, log, bus, run_id)
    return Reply(_found(run_id, runs), status=202)


@route("POST /api/runs/{run_id}/retry", permission=Permission.RUN, status=202)
def retry_run(run_id: RunId, runs: RunStore, chunks: ChunkStore, bus: Bus) -> Reply[Run]:
    """Try again what failed or was cancelled; what succeeded is kept."""
    run = _found(run_id, runs)
    if not run.state.over:
        raise Conflict("This run is not over yet.")
    if run.state is RunState.SUCCEEDED and not run.warnings:
        raise Conflict("Nothing failed in this run. Start a new one to do it again: POST /api/files/{id}/runs.")
    active = runs.active(run.file_id)
    if active is not None:
        raise Conflict("Another run works on this file. Wait for it, or cancel it.", run_id=active)
    actions.check_retry(runs, chunks, run_id)
    bus.publish(RetryRequested(run_id=run_id))
    return Reply(run, status=202)


def _found(run_id: RunId, runs: RunStore) -> Run:
    run = runs.get(run_id)
    if run is None:
        raise NotFound(NO_RUN)
    return run
