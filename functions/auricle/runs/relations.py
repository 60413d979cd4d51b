"""What is asked of runs from elsewhere: by the door, whose file they work on; by administrators, how many there are."""

from __future__ import annotations

from sqlalchemy import func, select

from auricle.files.relations import files_by_id
from auricle.runs.model import RunState
from auricle.runs.tables import runs

files_by_run = (
    select(runs.c.id, files_by_id.c.owner, files_by_id.c.file_id)
    .join(files_by_id, files_by_id.c.file_id == runs.c.file_id)
    .subquery("files_by_run")
)
"""The file of each run."""

runs_active = select(
    func.count().filter(runs.c.state == RunState.RUNNING).label("under_way"),
    func.count().filter(runs.c.state == RunState.QUEUED).label("queued"),
).where(runs.c.state.in_((RunState.RUNNING, RunState.QUEUED)))
"""How many runs are under way, and how many are not begun."""
