"""What was announced, and when: a pool is warmed once for a whole batch of uploads."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Column, DateTime, Table, Text, func, select
from sqlalchemy.dialects.postgresql import insert

from auricle.contract.store import Store
from auricle.runs.model import StepName
from auricle.schema import metadata

speech_expected = Table(
    "speech_expected",
    metadata,
    Column("work", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("told_at", DateTime(timezone=True), nullable=False),
)


class ExpectationStore(Store):
    """Which speech was announced, and when: once is enough for a whole batch of uploads."""

    def due(self, work: StepName, model: str, seconds: float) -> bool:
        """Whether it was not announced within `seconds`; if so, it is from now on."""
        recent = func.now() - timedelta(seconds=seconds)
        same = (speech_expected.c.work == work, speech_expected.c.model == model)
        known = select(speech_expected.c.told_at > recent).where(*same)
        if self.db.execute(known).scalar():  # looking first: nobody waits for another upload's row
            return False
        statement = insert(speech_expected).values(work=work, model=model, told_at=func.now())
        statement = statement.on_conflict_do_update(
            index_elements=["work", "model"], set_={"told_at": func.now()}, where=speech_expected.c.told_at <= recent
        )
        return self.db.execute(statement.returning(speech_expected.c.work)).first() is not None
