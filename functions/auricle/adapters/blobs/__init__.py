"""Technologies behind `ports.blobs`."""
