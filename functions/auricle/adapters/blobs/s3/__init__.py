"""Objects in an S3 service, without an SDK: botocore signs, urllib3 sends, and a cold start stays short."""

from auricle.adapters.blobs.s3.store import S3Blobs

__all__ = ["S3Blobs"]
