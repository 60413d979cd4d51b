"""Objects as plain files in a folder: what a laptop uses instead of an object store."""

from auricle.adapters.blobs.filesystem.store import FilesystemBlobs

__all__ = ["FilesystemBlobs"]
