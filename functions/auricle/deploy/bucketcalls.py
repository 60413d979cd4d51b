"""Applies what `bucket` rules by botocore's own clients: looks, calls, looks again. For jobs and tests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as Unreachable
from botocore.parsers import ResponseParserError
from botocore.session import Session

from auricle.deploy.bucket import RULES, Call, Fault, Outcome, Rule, Seen, State, Wish, advice_for
from auricle.errors import Invalid, Retryable

Clients = Callable[[str], Any]
"""Name of a service (`s3`, `sns`) → botocore's client of it."""
CALLS = 3
"""Calls of one rule at most: a topic, the notifications to it, and one to spare."""
DENIED = ("AccessDenied", "AuthFailure", "AllAccessDisabled")
WRONG_KEY = ("InvalidAccessKeyId", "SignatureDoesNotMatch")


def set_up(clients: Clients, wish: Wish, without: Collection[str] = ()) -> Iterator[Outcome]:
    """Bring the bucket to what is wanted, rule by rule; a store that is away is `Retryable`, wrong keys are `Invalid`.

    `without`: steps that this store is known not to offer. It is looked at once, and again after each call.
    """
    seen = observe(clients, wish)
    for step, (rule, _) in RULES.items():
        if step not in without:
            outcome, seen = _taken(clients, wish, step, rule, seen)
            yield outcome


def _taken(clients: Clients, wish: Wish, step: str, rule: Rule, seen: Seen) -> tuple[Outcome, Seen]:
    needed = rule(seen, wish)
    if needed is None:
        return Outcome(step=step, state=State.ALREADY), seen
    for _ in range(CALLS):
        if isinstance(needed, Fault):
            return Outcome(step=step, state=State.WRONG, advice=needed.advice), seen
        try:
            _ask(clients, needed)
        except ClientError as error:
            return _not_taken(step, wish, needed, error), seen
        seen = observe(clients, wish)
        needed = rule(seen, wish)
        if needed is None:
            return Outcome(step=step, state=State.DONE), seen
    return Outcome(step=step, state=State.MISSING, advice=advice_for(step, wish)), seen


def _ask(clients: Clients, call: Call) -> None:
    """The call; where a bucket cannot be made in the region's name, without one."""
    method = getattr(clients(call.service), call.name)
    try:
        _answered(method, **call.arguments)
    except ClientError as error:
        if call.name != "create_bucket":
            raise
        if _code(error) == "BucketAlreadyOwnedByYou":  # another of these jobs was faster
            return
        if "LocationConstraint" not in _code(error) or "CreateBucketConfiguration" not in call.arguments:
            raise
        _answered(method, Bucket=call.arguments["Bucket"])


def _not_taken(step: str, wish: Wish, call: Call, error: ClientError) -> Outcome:
    if _code(error) in DENIED or _status(error) in (401, 403):
        words = f"The key may not {call.name}: let it, or do this by hand with one that may."
        return Outcome(step=step, state=State.REFUSED, advice=words)
    if step == "the bucket":
        words = f"It answers {_code(error)} to {call.name}. Make the bucket {wish.bucket} by hand, or name another (S3_BUCKET)."
        return Outcome(step=step, state=State.REFUSED, advice=words)
    return Outcome(step=step, state=State.MISSING, advice=advice_for(step, wish))


def observe(clients: Clients, wish: Wish) -> Seen:
    """What the store says of the bucket now."""
    s3 = clients("s3")
    if not _exists(s3, wish.bucket):
        return Seen(exists=False)

    def told(name: str, key: str) -> Any:
        return _found(getattr(s3, name), key, Bucket=wish.bucket)

    return Seen(
        access_block=told("get_public_access_block", "PublicAccessBlockConfiguration"),
        acl=told("get_bucket_acl", "Grants"),
        policy=told("get_bucket_policy", "Policy"),
        encryption=(told("get_bucket_encryption", "ServerSideEncryptionConfiguration") or {}).get("Rules"),
        lifecycle=told("get_bucket_lifecycle_configuration", "Rules"),
        cors=told("get_bucket_cors", "CORSRules"),
        versioned=bool(told("get_bucket_versioning", "Status")),
        notifications=_notifications(s3, wish.bucket),
        topics=_topics(clients) if wish.hear_at else None,
    )


def _exists(s3: Any, bucket: str) -> bool:
    try:
        _answered(s3.head_bucket, Bucket=bucket)
    except ClientError as error:
        if _status(error) == 404:
            return False
        if _status(error) in (401, 403):
            raise Invalid(
                f"The object store refuses us at bucket {bucket}: check S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, and "
                "that the bucket is not somebody else's."
            ) from error
        raise Invalid(
            f"The object store answers {_code(error)} for bucket {bucket}: check S3_ENDPOINT and S3_REGION."
        ) from error
    return True


def _notifications(s3: Any, bucket: str) -> dict[str, Any] | None:
    try:
        told = _answered(s3.get_bucket_notification_configuration, Bucket=bucket)
    except ClientError:
        return None
    return {key: value for key, value in told.items() if key.endswith("Configurations") or key == "EventBridgeConfiguration"}


def _topics(clients: Clients) -> list[str] | None:
    found = _found(clients("sns").list_topics, "Topics")
    return None if found is None else [topic["TopicArn"] for topic in found]


def _found(call: Callable[..., Any], key: str, **arguments: str) -> Any:
    """A part of the answer; None where nothing is set, the store has no such thing, or the key may not look."""
    try:
        return _answered(call, **arguments).get(key)
    except ClientError as error:
        if _code(error) in WRONG_KEY:
            raise Invalid(
                "The object store does not know this key: check S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY."
            ) from error
        return None


def _answered(call: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """What the store answers; one that is away, starting or busy is `Retryable`."""
    try:
        answer: dict[str, Any] = call(**arguments)
        return answer
    except ClientError as error:
        if _status(error) in (429, 500, 502, 503, 504):
            raise Retryable(f"The object store is busy or starting ({_code(error) or _status(error)}).") from error
        raise
    except (HTTPClientError, Unreachable) as error:
        raise Retryable("The object store cannot be reached.") from error
    except (BotoCoreError, ResponseParserError):  # an answer that is none of S3's: the store takes this for something else
        return {}


def _code(error: ClientError) -> str:
    return str(error.response["Error"].get("Code") or "")


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def client_maker(endpoint: str, region: str, access_key: str, secret_key: str) -> Clients:
    """botocore's own clients for a path-style store: slow to import, so for jobs only."""
    session = Session()
    made: dict[str, Any] = {}

    def client(service: str) -> Any:
        if service not in made:
            patience = Config(
                s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=30
            )
            made[service] = session.create_client(
                service,
                endpoint_url=endpoint,
                region_name=region,
                aws_access_key_id=access_key,
                aws_secret_access_key=secret_key,
                config=patience,
            )
        return made[service]

    return client
