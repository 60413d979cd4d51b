"""What the bucket must be, as pure rules: private, encrypted, tidy, and telling us what arrives.

Each rule looks at what was seen of a bucket and says what brings it nearer to what is wanted: a call, a fault that only a
person can mend, or nothing. `bucketcalls` looks, calls and looks again, so that what a store merely pretends to take is
found out (Ceph and MinIO both do that to some of these calls).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

PREFIXES = ("uploads/", "drop/")
EVENTS = ["s3:ObjectCreated:*"]
PARTS_RULE = "abandoned-parts"
VERSIONS_RULE = "old-versions"
EVERYBODY = ("http://acs.amazonaws.com/groups/global/AllUsers", "http://acs.amazonaws.com/groups/global/AuthenticatedUsers")


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the deployment wants of its bucket."""

    bucket: str
    region: str
    origin: str  # of the web app, for browsers' cross-origin requests; empty: none
    hear_at: str  # URL of the function bucket_events; empty: nobody is told
    token: str = ""
    target: str = "AURICLE"  # MinIO: the name of the webhook in its environment (MINIO_NOTIFY_WEBHOOK_…_<name>)
    upload_hours: int = 24  # how long an upload may stay unfinished

    @property
    def abandoned_days(self) -> int:
        """When the store forgets parts that our own sweep lost sight of: a day after it, never while an upload is open."""
        return -(-self.upload_hours // 24) + 1

    @property
    def topic(self) -> str:
        """The topic's name where the store has topics. Deployments may share the account, hence the bucket's name; Ceph's
        notifications keep a copy of their topic, so another address is another topic.
        """
        return f"{self.bucket}-arrivals-{hashlib.sha256(self.address.encode()).hexdigest()[:8]}"

    @property
    def address(self) -> str:
        """Where a topic's messages go. Ceph sends no Authorization header, so the token is in the URL."""
        return f"{self.hear_at}?token={quote(self.token, safe='')}"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a store says of its bucket, in S3's own shapes. None: nothing is set, or the store does not know such a thing."""

    exists: bool = True
    access_block: Mapping[str, bool] | None = None
    acl: Sequence[Mapping[str, Any]] | None = None
    policy: str | None = None
    encryption: Sequence[Mapping[str, Any]] | None = None
    lifecycle: Sequence[Mapping[str, Any]] | None = None
    cors: Sequence[Mapping[str, Any]] | None = None
    versioned: bool = False
    notifications: Mapping[str, Any] | None = None
    topics: Sequence[str] | None = None  # ARNs; None: this store has no topics


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of botocore's client of `service`."""

    name: str
    arguments: Mapping[str, Any]
    service: str = "s3"


class Fault(msgspec.Struct, frozen=True):
    """What no call of ours shall mend, and what a person does."""

    advice: str


Rule = Callable[[Seen, Wish], Call | Fault | None]


def the_bucket(seen: Seen, wish: Wish) -> Call | None:
    """There is a bucket."""
    if seen.exists:
        return None
    where = {} if wish.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": wish.region}}
    return Call(name="create_bucket", arguments={"Bucket": wish.bucket, **where})


def no_public_access(seen: Seen, wish: Wish) -> Call | None:
    """The store minds nothing that would open the bucket.

    Public access lists are ignored, which is as safe as refusing them: with BlockPublicAcls Ceph 16 refuses every PUT of
    everybody's. Where somebody has set that, it stays.
    """
    wanted = dict.fromkeys(("IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    if covers(seen.access_block, wanted):
        return None
    configuration = {"BlockPublicAcls": bool((seen.access_block or {}).get("BlockPublicAcls")), **wanted}
    arguments = {"Bucket": wish.bucket, "PublicAccessBlockConfiguration": configuration}
    return Call(name="put_public_access_block", arguments=arguments)


def nobody_else_let_in(seen: Seen, wish: Wish) -> Call | Fault | None:
    """Neither the access list nor the policy lets everybody in."""
    if lets_everybody_in(seen.policy):
        return Fault(
            f"The policy of bucket {wish.bucket} lets everybody in. Take the statement with Principal * out of it, "
            "then run this job again."
        )
    if any((grant.get("Grantee") or {}).get("URI") in EVERYBODY for grant in seen.acl or ()):
        return Call(name="put_bucket_acl", arguments={"Bucket": wish.bucket, "ACL": "private"})
    return None


def encryption_at_rest(seen: Seen, wish: Wish) -> Call | None:
    """What is put without a word about encryption is encrypted with the store's key. A stronger default stays."""
    ways = [(rule.get("ApplyServerSideEncryptionByDefault") or {}).get("SSEAlgorithm") for rule in seen.encryption or ()]
    if any(ways):
        return None
    rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    arguments = {"Bucket": wish.bucket, "ServerSideEncryptionConfiguration": {"Rules": rules}}
    return Call(name="put_bucket_encryption", arguments=arguments)


def abandoned_parts(seen: Seen, wish: Wish) -> Call | None:
    """Parts of uploads that nobody finishes go."""
    return _with_rule(seen, wish, PARTS_RULE, {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": wish.abandoned_days}})


def old_versions(seen: Seen, wish: Wish) -> Call | None:
    """In a bucket with versions what is deleted goes too, a day later: purged means gone."""
    if not seen.versioned:
        return None
    return _with_rule(seen, wish, VERSIONS_RULE, {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}})


def nothing_expires(seen: Seen, wish: Wish) -> Fault | None:
    """No rule of somebody else's deletes what people keep."""
    for rule in seen.lifecycle or ():
        expiration = rule.get("Expiration") or {}
        if rule.get("Status") == "Enabled" and (expiration.get("Days") or expiration.get("Date")):
            return Fault(
                f"The lifecycle rule {rule.get('ID', 'without a name')} of bucket {wish.bucket} deletes objects by age, "
                "recordings among them. Remove it: Auricle deletes what people purge."
            )
    return None


def browsers_of_the_web_app(seen: Seen, wish: Wish) -> Call | None:
    """Pages of the web app, and no others, may put parts and read ranges."""
    if not wish.origin:
        return None
    rule = {
        "AllowedOrigins": [wish.origin],
        "AllowedMethods": ["GET", "HEAD", "PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag", "Content-Range", "Accept-Ranges"],
        "MaxAgeSeconds": 3600,
    }
    if covers(seen.cors, [rule]):
        return None
    return Call(name="put_bucket_cors", arguments={"Bucket": wish.bucket, "CORSConfiguration": {"CORSRules": [rule]}})


def arrivals_are_told(seen: Seen, wish: Wish) -> Call | None:
    """What is created under our prefixes is told to the function bucket_events.

    MinIO knows its targets from its environment. Ceph has topics, persistent ones, so that what cannot be told now is told
    later.
    """
    if not wish.hear_at:
        return None
    if seen.topics is None:
        return _told_to(seen, wish, f"arn:minio:sqs::{wish.target}:webhook", "Queue")
    arn = next((arn for arn in seen.topics if arn.endswith(f":{wish.topic}")), None)
    if arn is None:
        attributes = {"push-endpoint": wish.address, "persistent": "true"}
        return Call(name="create_topic", service="sns", arguments={"Name": wish.topic, "Attributes": attributes})
    return _told_to(seen, wish, arn, "Topic")


RULES: dict[str, tuple[Rule, str]] = {
    "the bucket": (the_bucket, ""),
    "no public access": (
        no_public_access,
        "Without a policy the bucket is private; let nobody give it one (the next line looks).",
    ),
    "nobody else let in": (nobody_else_let_in, ""),
    "encryption at rest": (encryption_at_rest, "Give the store a key (MinIO: MINIO_KMS_SECRET_KEY), or encrypt its disks."),
    "abandoned parts": (
        abandoned_parts,
        "Our own sweep aborts uploads. MinIO forgets parts by itself: set MINIO_API_STALE_UPLOADS_EXPIRY={hours}h on the "
        "server, because its own default is as short as an upload may take.",
    ),
    "old versions": (old_versions, "Switch versions off, or remove old ones by hand: purged recordings live on in them."),
    "nothing expires": (nothing_expires, ""),
    "browsers of the web app": (
        browsers_of_the_web_app,
        "MinIO: set MINIO_API_CORS_ALLOW_ORIGIN={wish.origin} on the server, or any site's scripts are let in. Behind the "
        "gateway, pages and bucket have one origin and need nothing else.",
    ),
    "arrivals are told": (
        arrivals_are_told,
        "MinIO: set MINIO_NOTIFY_WEBHOOK_ENABLE_{wish.target}=on, …_ENDPOINT_{wish.target}={wish.hear_at} and "
        "…_AUTH_TOKEN_{wish.target} on the server. Until then uploads are noticed when clients say so, drops by the sweep "
        "every 30 minutes.",
    ),
}
"""What is wanted → its rule, and what to do where a store does not offer it; in the order of the job's log."""


def advice_for(step: str, wish: Wish) -> str:
    """What a person does where the store does not offer `step`."""
    return RULES[step][1].format(wish=wish, hours=24 * wish.abandoned_days)


class State(StrEnum):
    """What became of a step."""

    DONE = "done"
    ALREADY = "already so"
    MISSING = "not offered by this store"
    REFUSED = "refused by the store"
    WRONG = "WRONG"

    @property
    def bad(self) -> bool:
        """Whether a person has to act before the bucket can be trusted."""
        return self in (State.REFUSED, State.WRONG)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One step, for the job's log."""

    step: str
    state: State
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.step}: {self.state}" + (f". {self.advice}" if self.advice else "")


def lets_everybody_in(policy: str | None) -> bool:
    """Whether a bucket policy (JSON) allows anything to anybody without a condition."""
    if not policy:
        return False
    statements = json.loads(policy).get("Statement", [])
    return any(_open(statement) for statement in (statements if isinstance(statements, list) else [statements]))


def _open(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    who = principal.get("AWS") if isinstance(principal, dict) else principal
    everybody = "*" in who if isinstance(who, list) else who == "*"
    return statement.get("Effect") == "Allow" and everybody and not statement.get("Condition")


def covers(found: Any, wanted: Any) -> bool:
    """Whether `found` says everything that is wanted; stores add fields of their own, and order words as they like."""
    if isinstance(wanted, dict):
        return isinstance(found, Mapping) and all(covers(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != len(wanted):
            return False
        return all(any(covers(item, value) for item in found) for value in wanted)
    return bool(found == wanted)


def _with_rule(seen: Seen, wish: Wish, name: str, action: dict[str, Any]) -> Call | None:
    """The lifecycle with our rule in it; other people's rules stay."""
    rules = seen.lifecycle or ()
    if any(rule.get("ID") == name and covers(rule, {"Status": "Enabled", **action}) for rule in rules):
        return None
    ours = {"ID": name, "Status": "Enabled", "Filter": {"Prefix": ""}, **action}
    kept = [_writable(rule) for rule in rules if rule.get("ID") != name]
    arguments = {"Bucket": wish.bucket, "LifecycleConfiguration": {"Rules": [*kept, ours]}}
    return Call(name="put_bucket_lifecycle_configuration", arguments=arguments)


def _writable(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Ceph tells a rule's prefix in the old way, next to which new rules must not stand."""
    if "Filter" in rule or "Prefix" not in rule:
        return dict(rule)
    return {"Filter": {"Prefix": rule["Prefix"]}, **{name: value for name, value in rule.items() if name != "Prefix"}}


def _told_to(seen: Seen, wish: Wish, arn: str, kind: str) -> Call | None:
    """The notifications with ours among them; other people's stay."""
    ours = [
        {
            "Id": prefix.strip("/"),
            f"{kind}Arn": arn,
            "Events": EVENTS,
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
        }
        for prefix in PREFIXES
    ]
    key, now = f"{kind}Configurations", dict(seen.notifications or {})
    there = now.get(key, [])
    if all(any(covers(found, wanted) for found in there) for wanted in ours):
        return None
    names = {rule["Id"] for rule in ours}
    now[key] = [rule for rule in there if rule.get("Id") not in names] + ours
    arguments = {"Bucket": wish.bucket, "NotificationConfiguration": now, "SkipDestinationValidation": True}
    return Call(name="put_bucket_notification_configuration", arguments=arguments)


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, as browsers send them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
