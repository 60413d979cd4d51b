"""The little XML that S3 speaks: read without namespaces and without any document type (no entities, hence no entity bombs)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape

from auricle.errors import Retryable
from auricle.ports.blobs import Part

LARGEST = 16 * 2**20
"""Bytes; a page of a listing is below one MiB."""
SEPARATOR = " "
NO_CHARACTER = re.compile(rb"&#x0*(?:[0-8bcef]|1[0-9a-f]);", re.IGNORECASE)
"""References to characters that XML 1.0 does not have; Ceph writes them where it repeats keys. We ask for keys URL-encoded."""


def read(body: bytes) -> Element:
    """The root element, every tag without its namespace; `Retryable` when it is not the XML we expect."""
    if len(body) > LARGEST:
        raise _unreadable()
    builder = TreeBuilder()
    parser = ParserCreate(namespace_separator=SEPARATOR)
    parser.StartElementHandler = lambda tag, attributes: builder.start(_local(tag), attributes)
    parser.EndElementHandler = lambda tag: builder.end(_local(tag))
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(NO_CHARACTER.sub(b"", body.strip()), True)  # long calls are kept alive with blanks in front
        return builder.close()
    except (ExpatError, ParseError, AssertionError):
        raise _unreadable() from None


def text(element: Element, path: str) -> str:
    """The text at `path`, or nothing."""
    return element.findtext(path) or ""


def error_code(body: bytes) -> str:
    """The `Code` of an error document; empty when the body is something else."""
    try:
        root = read(body)
    except Retryable:
        return ""
    return text(root, "Code") if root.tag == "Error" else ""


def completion(parts: Sequence[Part]) -> bytes:
    """What makes one object out of parts."""
    inside = "".join(
        f"<Part><PartNumber>{part.number}</PartNumber><ETag>&quot;{escape(part.etag)}&quot;</ETag></Part>" for part in parts
    )
    return f"<CompleteMultipartUpload>{inside}</CompleteMultipartUpload>".encode()


def deletion(keys: Sequence[str]) -> bytes:
    """What deletes many objects at once."""
    inside = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    return f"<Delete><Quiet>true</Quiet>{inside}</Delete>".encode()


def sayable(key: str) -> bool:
    """Whether XML 1.0 can hold `key`; control characters it cannot, not even escaped."""
    return not any(char < " " and char not in "\t\n" for char in key) and not any("\ufffe" <= char <= "\uffff" for char in key)


def _local(tag: str) -> str:
    return tag.rpartition(SEPARATOR)[2]


def _refuse(*_: object) -> None:
    raise _unreadable()


def _unreadable() -> Retryable:
    return Retryable("The object store answered with something that is not S3's XML: check S3_ENDPOINT.")
