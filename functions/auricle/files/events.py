"""What happens to files."""

from __future__ import annotations

from typing import ClassVar

from auricle.contract.event import Fact
from auricle.files.model import FileId


class FileReceived(Fact, frozen=True, kw_only=True):
    """All bytes of a file are here. Its first preparation pins them under an immutable key."""

    TYPE: ClassVar[str] = "auricle.files.received.v1"
    CONCERNS: ClassVar[str] = "run"

    file_id: FileId


class FilePurged(Fact, frozen=True, kw_only=True):
    """A file is gone for its owner: whoever keeps something of it lets go."""

    TYPE: ClassVar[str] = "auricle.files.purged.v1"

    file_id: FileId
