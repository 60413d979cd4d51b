"""From declarations to documents and manifests."""
