"""How the operator reaches what it needs: the API server (lightkube), databases (pg8000), object stores (MinIO, Ceph)."""
