"""Everything that can be set from outside, read from the environment here and nowhere else.

Each setting's variable is its name in capitals. The text beneath a field is its documentation: unit, default, reason.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec

from auricle.errors import Invalid

Count = Annotated[int, msgspec.Meta(ge=0)]
"""A limit: what is below nothing is a mistake."""


class ApiDocs(StrEnum):
    """Who reads what the interface is."""

    SIGNED_IN = "signed-in"
    PUBLIC = "public"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One process's settings. Secrets among them are given only to the functions that need them."""

    auricle_function: str = "*api"
    """Which function this process is: a name, several with commas, or `*api` (`*identity`, …) for all of an image."""
    database_url: str = ""
    """`postgresql+pg8000://…` of the role `auricle_app`. Empty in speech functions: they hold no database."""
    owner_database_url: str = ""
    """As `database_url`, of the role `auricle_migrate`: for the job that migrates, and for no function."""
    database_pool: int = 2
    """Connections per process. Small, because pods are many; the laptop's one API process has more."""
    broker_url: str = ""
    """Where facts are posted (`K_SINK` on Knative)."""
    event_key: str = ""
    """Hex, 32 bytes: signs events between functions that hold a database."""
    event_source: str = "/auricle"
    """The CloudEvents `source` of what this deployment publishes."""
    data_dir: str = ""
    """Folder of the embedded host. Empty on Knative."""
    blobs_key: str = ""
    """Hex, 32 bytes: signs the laptop's blob URLs."""
    blobs_public_url: str = ""
    """What signed URLs for browsers begin with. S3: the endpoint as browsers reach it; default `s3_endpoint`."""
    blobs_internal_url: str = ""
    """What signed URLs for functions begin with; default `blobs_public_url`."""
    s3_endpoint: str = ""
    """Use this S3 service for bytes instead of `data_dir`. The four below belong to it."""
    s3_region: str = "us-east-1"
    """Region that signatures name."""
    s3_bucket: str = "auricle"
    """The private bucket."""
    s3_access_key_id: str = ""
    """S3 access key."""
    s3_secret_access_key: str = ""
    """S3 secret."""
    object_origins: str = ""
    """Comma-separated origins that speech functions may fetch from. Empty: none."""
    bucket_token: str = ""
    """What bucket notifications must present as `Authorization: Bearer`. Empty: they are refused."""
    bucket_events_url: str = ""
    """Where the object store tells what arrives: the function bucket_events, as the store reaches it. Empty: nobody is told."""
    timer_token: str = ""
    """What a schedule's event must carry as its `ticket`, as it is or in base64. Empty (the laptop): any tick is heard."""
    gateway_key: str = ""
    """Hex, 32 bytes (two with a comma while one replaces the other): the gateway signs with it who is asking. Empty: whatever
    a request says of its address, host or certificate is ignored."""
    public_url: str = ""
    """Where people reach this deployment: `https://vault.example`. Default `blobs_public_url`. Signing in needs https, but for
    a loopback address."""
    ephemeral_key: str = ""
    """Hex, 32 bytes: hides whose the rows of limits and ended sign-ins are. Functions with routes that are not for everybody
    need it, the same in all. With another key what was remembered is not found again: limits and locks begin anew, and whoever
    has ever had all sign-ins ended at once (by another password, say) signs in again."""
    redis_url: str = ""
    """`redis://…` or `rediss://…`: remember limits and ended sign-ins there. Empty: in the database, by one connection more."""
    sealing_keys: str = ""
    """Hex, 32 bytes (several with commas: the first seals, all open): encrypts authenticator secrets and the passwords of mail
    servers and directories at rest. Losing it loses them; `auricle up` makes one."""
    signing_keys_file: str = ""
    """File with the private keys that sign-ins are signed with (`auricle keys`), for the function identity alone. Read again
    for each token."""
    jwks_file: str = ""
    """File with the public halves of those keys (a JWK Set), for all functions that let people in. Read again each minute."""
    setup_code_file: str = ""
    """File with the code that makes the first owner. Empty, or no such file: nobody is made one."""
    api_docs: ApiDocs = ApiDocs.SIGNED_IN
    """Who reads `/api/openapi.json` and `/api/docs`: `signed-in` (whoever has a session or any token) or `public`, which the
    laptop is unless told otherwise: strangers need no map of the house."""
    password_profile: str = "standard"  # noqa: S105 - a word, no password
    """What passwords must be: `standard`, `nist` or `stig`."""
    breached_passwords: str = ""
    """File of stolen passwords, as Have I Been Pwned's downloader writes it, ordered by digest. Empty: nothing is asked."""
    session_idle_minutes: int = 720
    """A session ends when it was not used for so long (NIST SP 800-63B, AAL3: 15)."""
    session_hours: int = 720
    """A session ends so long after its sign-in, however much it is used (AAL3: 12)."""
    sessions_at_once: int = 10
    """Sessions that a person may have; one more ends the oldest."""
    mfa_required: str = "none"
    """Of whom a second factor is required: `none`, `all`, or roles with commas (`owner,admin`). Whoever has one shows it."""
    smtp_host: str = ""
    """The mail server that letters are handed to. Empty: they go to the log, without their links. What administrators set in
    the house itself comes before this and the five below."""
    smtp_port: int = 587
    """587 for STARTTLS, 465 for TLS from the first byte."""
    smtp_security: str = "starttls"
    """`starttls` or `tls`; nothing is ever sent in the clear."""
    smtp_username: str = ""
    """Whom to sign in as there. Empty: nobody."""
    smtp_password: str = ""
    """The password of `smtp_username`."""
    smtp_from: str = ""
    """The address that letters come from: `auricle@example.org`."""
    smtp_ca_file: str = ""
    """File (PEM) with the authority that the mail server's certificate is from. Empty: what this system trusts."""
    registration: str = "invitation"
    """Who may make an account: `closed` (nobody), `invitation` (whom somebody invited), `approval` (whom an administrator
    agrees to), `open`. What administrators set in the house itself comes before this."""
    inactive_days: int = 0
    """An account that was not used for so long is disabled (AC-2(3); DISA's STIG says 35), an owner's never. 0: none is."""
    banner_text: str = ""
    """What everybody acknowledges before anything is answered, until administrators set another text. Empty: nothing."""
    banner_classification: str = "unclassified"
    """The label that is shown with it."""
    suspended: bool = False
    """Nobody is answered (503, but for `/health` and the probes), no timer acts, and no new work is released; what is under way
    ends. Nothing is lost: when it is off again, runs go on where they were, at the latest with the next `sweep_runs`."""
    max_runs: Count = 0
    """Runs under way at once; more wait their turn, of whoever has fewest under way first. 0: as many as there are."""
    minutes_per_month: Count | None = None
    """Minutes of recordings whose transcription may begin in a calendar month (UTC), re-runs too. Empty: any; 0: none."""
    max_storage_bytes: Count | None = None
    """Bytes of originals that are kept, those in the trash and those still being uploaded among them. Empty: any; 0: none."""
    invite_owners: str = ""
    """E-mail addresses (with commas) that the job `invite` asks to become owners."""
    audit_keep_days: int = 400
    """Days that audit entries stay in the database once they are published; at least 90."""
    models_dir: str = ""
    """Folder of speech models; the demo models come with the package."""
    transcribe_model: str = "whisper-demo"
    """Model used when an upload names none. The demo model knows 249 English words: pull a real one."""
    diarize_model: str = "voices-demo"
    """Voice model used when an upload names none."""
    speech_device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    speech_threads: int = 0
    """CPU threads of one speech process; 0: all cores."""
    auricle_speech_workers: int = 0
    """Transcribing processes of the embedded host; 0: two, where there are two cores."""
    speech_memory_bytes: int = 0
    """Device memory that warm models may take; 0: what is free."""
    pinned_model: str = ""
    """The only model that this speech process serves and keeps warm; its Trigger filters on `model`. Empty: any model."""
    models_required: bool = False
    """Speech processes are ready only once their model is verified and warm, and refuse folders without `.ok` (clusters).
    Off (the laptop): models are loaded when they are first needed. A pinned process always acts as if it were on."""
    models_sha256: bool = False
    """Before a model is ready, compare every file's sha256 with its `.ok`, not only its size: reads it all once."""
    prewarm: bool = True
    """Wake the speech functions when an upload starts, at most once a minute per model, so that they are warm when it ends."""
    offered_models: str = ""
    """Comma-separated models that people may ask for. Empty: any. Set it where each model is a Service of its own, because
    nobody hears an event for another one."""
    max_upload_bytes: int = 50 * 2**30
    """Largest upload, 50 GiB: a day of 4K video."""
    part_bytes: int = 16 * 2**20
    """Size of upload parts, 16 MiB: seconds of work are lost when one breaks. S3 asks for 5 MiB or more."""
    upload_hours: int = 24
    """How long an upload may stay unfinished before it is swept."""
    chunk_seconds: float = 300.0
    """Length of chunks when an upload says none: a killed worker loses at most this much work."""
    window: int = 8
    """Pieces of one step that are under way at once, per run: enough for a pool, few enough to be fair."""
    task_seconds: int = 900
    """Deadline of one released piece of work; then it is released again. Its URLs live 15 minutes longer."""
    task_attempts: int = 3
    """Tries of one piece of work before it counts as failed."""
    metrics_port: int = 0
    """Port on which this process tells Prometheus what it counts (`/metrics`), beside the one that Knative knows: a scrape
    through Knative would wake what sleeps. 0: none."""
    otel_exporter_otlp_endpoint: str = ""
    """Where OpenTelemetry spans go (OTLP over HTTP). Empty: none, and its library is not loaded. The library reads the other
    OTEL_* variables itself."""
    otel_sdk_disabled: bool = False
    """OpenTelemetry's own switch: no spans although there is an endpoint."""
    k_revision: str = ""
    """Knative's name for what this pod is one of; it sets it. Empty: no pod."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    threads: int = 8
    """Requests one process handles at once; at least its concurrency + 4, because probes share them."""


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Settings out of variables; a value of the wrong type is named. Unknown variables are none of our business."""
    found = {name: environment[name.upper()] for name in Settings.__struct_fields__ if environment.get(name.upper())}
    if "broker_url" not in found and environment.get("K_SINK"):
        found["broker_url"] = environment["K_SINK"]
    try:
        return msgspec.convert(found, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"A setting cannot be read: {error}. Correct that environment variable.") from error


@cache
def settings() -> Settings:
    """This process's settings."""
    return from_environment(os.environ)


def child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that we start: ours and `more`."""
    return {**os.environ, **more}


def default_data_dir() -> Path:
    """Where `auricle up` keeps its data when nobody says otherwise (the XDG base directories)."""
    root = os.environ.get("XDG_DATA_HOME")
    return (Path(root) if root else Path.home() / ".local" / "share") / "auricle"
