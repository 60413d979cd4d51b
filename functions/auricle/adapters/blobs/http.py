"""HTTP to object stores: TLS verified, every wait bounded, nothing decoded, and no signed URL in any log."""

from __future__ import annotations

import logging

import urllib3

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
"""Seconds without a byte. Stores answer in milliseconds; a minute means that nobody is there."""
CONNECTIONS = 16
TALKATIVE = ("urllib3", "botocore.auth")
"""At DEBUG these log whole URLs and what was signed: permissions, in our case."""


def connections() -> urllib3.PoolManager:
    """A pool that repeats nothing by itself and follows no redirect when asked so; safe for threads."""
    for name in TALKATIVE:
        logger = logging.getLogger(name)
        if logger.level < logging.INFO:
            logger.setLevel(logging.INFO)
    return urllib3.PoolManager(
        maxsize=CONNECTIONS,
        cert_reqs="CERT_REQUIRED",
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        retries=False,
    )


def reason(error: urllib3.exceptions.HTTPError) -> str:
    """What went wrong on the way, in words; the error's own text may hold the URL."""
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (urllib3.exceptions.SSLError, "its certificate is not trusted"),
        (urllib3.exceptions.NameResolutionError, "its name is not known"),
        (urllib3.exceptions.NewConnectionError, "it accepts no connection"),
        (urllib3.exceptions.TimeoutError, "it does not answer in time"),
    )
    return next((words for kind, words in kinds if isinstance(error, kind)), "the connection broke")
