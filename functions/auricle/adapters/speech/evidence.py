"""What one chunk told of its voices, as bytes that are the same whenever the content is: named arrays in an npz."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy
from numpy.typing import NDArray

from auricle.errors import Permanent

Arrays = dict[str, NDArray[numpy.generic]]
KIND = "kind"
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Time stamped on every member (the first that a zip can hold), so that bytes don't depend on the clock."""


def pack(kind: str, arrays: Mapping[str, NDArray[numpy.generic]]) -> bytes:
    """An npz of `arrays`, marked as `kind` (adapter and model), with deterministic bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in {KIND: numpy.array(kind), **arrays}.items():
            member = zipfile.ZipInfo(f"{name}.npy", LONG_AGO)
            member.compress_type = zipfile.ZIP_DEFLATED
            buffer = io.BytesIO()
            numpy.lib.format.write_array(buffer, numpy.array(array, order="C"), allow_pickle=False)
            archive.writestr(member, buffer.getvalue())
    return out.getvalue()


def unpack(kind: str, data: bytes) -> Arrays:
    """The arrays of `pack`. `Permanent` when the bytes are broken or another model's."""
    try:
        with numpy.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays: Arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise Permanent("The voice evidence of a chunk cannot be read; run the diarization again.") from error
    found = str(arrays.pop(KIND, "unknown"))
    if found != kind:
        raise Permanent(
            f"The voice evidence was made by {found}, but {kind} is asked to cluster it: "
            "run the diarization again with one model."
        )
    return arrays
