"""What happens to transcripts."""

from __future__ import annotations

from typing import ClassVar

from auricle.contract.event import Fact
from auricle.files.model import FileId


class TranscriptAssembled(Fact, frozen=True, kw_only=True):
    """A new machine version of a file's transcript is there."""

    TYPE: ClassVar[str] = "auricle.transcripts.assembled.v1"

    file_id: FileId
    version: int
