"""What the bucket must be: the rules by themselves, and applied to stores that offer this and pretend that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from auricle.deploy import bucket
from auricle.deploy.bucket import RULES, Call, Fault, Outcome, Seen, State, Wish, covers, lets_everybody_in, origin_of
from auricle.deploy.bucketcalls import set_up
from auricle.errors import Invalid, Retryable

WISH = Wish(bucket="auricle", region="us-east-1", origin="https://a.example", hear_at="http://b/api/bucket-events", token="t&t")
ARN = "arn:minio:sqs::AURICLE:webhook"
PARTS = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}}


def refused(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "call")  # type: ignore[arg-type]


class Store:
    """An S3 store that keeps what it is told, in the shapes that it tells.

    `raises`: call → what it raises; `pretends`: settings that it takes and forgets; `topics`: whether it has any.
    """

    def __init__(
        self, *, raises: Mapping[str, Exception] | None = None, pretends: tuple[str, ...] = (), topics: bool = False
    ) -> None:
        self.kept: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.topics: dict[str, Any] | None = {} if topics else None
        self.exists = False
        self._raises, self._pretends = dict(raises or {}), pretends

    def __call__(self, service: str) -> Store:
        return self

    def __getattr__(self, name: str) -> Any:
        def call(**given: Any) -> Any:
            if name in self._raises:
                raise self._raises[name]
            if name.startswith("get_"):
                return self.kept.get(name.removeprefix("get_"), {})
            if name not in ("head_bucket", "list_topics"):
                self.asked.append((name, given))
            own = getattr(type(self), f"_{name}", type(self)._put)
            return own(self, name, given)

        return call

    def _put(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        name, kept = name.removeprefix("put_"), {key: value for key, value in given.items() if key != "Bucket"}
        if name in self._pretends:
            return {}
        shape = next(iter(kept.values()))
        is_shape = name in ("bucket_lifecycle_configuration", "bucket_cors", "bucket_notification_configuration")
        self.kept[name] = shape if is_shape else kept
        if name == "bucket_acl":
            self.kept[name] = {"Grants": []}
        return {}

    def _head_bucket(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        if not self.exists:
            raise refused("404", 404)
        return {}

    def _create_bucket(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        self.exists = True
        return {}

    def _list_topics(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        if self.topics is None:
            raise refused("MissingParameter", 400)
        return {"Topics": [{"TopicArn": f"arn:aws:sns:default::{topic}"} for topic in self.topics]}

    def _create_topic(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        assert self.topics is not None
        self.topics[given["Name"]] = given["Attributes"]
        return {}

    def times(self, name: str) -> int:
        """How often it was asked for that."""
        return [asked for asked, _ in self.asked].count(name)


def taken(store: Store, wish: Wish = WISH) -> dict[str, Outcome]:
    return {outcome.step: outcome for outcome in set_up(store, wish)}


def states(store: Store, wish: Wish = WISH) -> dict[str, State]:
    return {step: outcome.state for step, outcome in taken(store, wish).items()}


# Applied.


@pytest.mark.parametrize("topics", [False, True])
def test_a_store_that_offers_everything_gets_everything_once(topics: bool) -> None:
    store = Store(topics=topics)
    first = states(store)
    nothing_to_do = ("nobody else let in", "old versions", "nothing expires")
    assert {step: state for step, state in first.items() if step not in nothing_to_do} == dict.fromkeys(
        [step for step in RULES if step not in nothing_to_do], State.DONE
    )
    told = len(store.asked)
    assert set(states(store).values()) == {State.ALREADY}
    assert len(store.asked) == told


def test_a_bucket_that_is_right_is_looked_at_once_and_known_gaps_are_left_out() -> None:
    store = Store()
    states(store)
    looks = [0]
    real = store._head_bucket

    def counted(name: str, given: dict[str, Any]) -> dict[str, Any]:
        looks[0] += 1
        return real(name, given)

    store.head_bucket = lambda **given: counted("head_bucket", given)  # type: ignore[attr-defined]
    again = [outcome.step for outcome in set_up(store, WISH, ("no public access",))]
    assert again == [step for step in RULES if step != "no public access"]
    assert looks == [1]


def test_minio_tells_its_webhook_of_both_prefixes() -> None:
    store = Store()
    states(store)
    rules = store.kept["bucket_notification_configuration"]["QueueConfigurations"]
    assert {rule["QueueArn"] for rule in rules} == {ARN}
    assert [rule["Filter"]["Key"]["FilterRules"] for rule in rules] == [
        [{"Name": "prefix", "Value": "uploads/"}],
        [{"Name": "prefix", "Value": "drop/"}],
    ]


def test_a_topic_is_persistent_and_has_the_token_in_its_address() -> None:
    store = Store(topics=True)
    states(store)
    ((name, attributes),) = (store.topics or {}).items()
    assert attributes == {"push-endpoint": "http://b/api/bucket-events?token=t%26t", "persistent": "true"}
    (arn,) = {rule["TopicArn"] for rule in store.kept["bucket_notification_configuration"]["TopicConfigurations"]}
    assert arn.endswith(f":{name}")


def test_another_token_is_another_topic_and_the_notifications_follow() -> None:
    store = Store(topics=True)
    states(store)
    assert states(store, msgspec.structs.replace(WISH, token="new"))["arrivals are told"] is State.DONE
    assert len(store.topics or {}) == 2
    rules = store.kept["bucket_notification_configuration"]["TopicConfigurations"]
    assert len(rules) == 2
    assert len({rule["TopicArn"] for rule in rules}) == 1
    newest = list(store.topics or {})[-1]
    assert rules[0]["TopicArn"].endswith(newest)


@pytest.mark.parametrize(("code", "status"), [("NotImplemented", 501), ("MethodNotAllowed", 405), ("InvalidRequest", 400)])
def test_what_a_store_does_not_offer_is_said_and_keeps_nothing_else_from_being_done(code: str, status: int) -> None:
    outcomes = taken(Store(raises={"put_bucket_cors": refused(code, status)}))
    (missing,) = [o for o in outcomes.values() if o.state is State.MISSING]
    assert missing.step == "browsers of the web app"
    assert "MINIO_API_CORS_ALLOW_ORIGIN=https://a.example" in missing.advice
    assert missing.advice in str(missing)
    assert list(outcomes) == list(RULES)


def test_what_a_store_takes_and_forgets_counts_as_not_offered() -> None:
    outcomes = taken(Store(pretends=("bucket_encryption", "bucket_lifecycle_configuration")))
    assert outcomes["encryption at rest"].state is State.MISSING
    assert outcomes["abandoned parts"].state is State.MISSING
    assert "MINIO_API_STALE_UPLOADS_EXPIRY=48h" in outcomes["abandoned parts"].advice
    assert outcomes["arrivals are told"].state is State.DONE


def test_a_key_that_may_not_do_something_is_told_what_and_the_rest_is_done() -> None:
    outcomes = taken(Store(raises={"put_bucket_encryption": refused("AccessDenied", 403)}))
    assert outcomes["encryption at rest"].state is State.REFUSED
    assert outcomes["encryption at rest"].state.bad
    assert "put_bucket_encryption" in outcomes["encryption at rest"].advice
    assert outcomes["arrivals are told"].state is State.DONE


def test_an_answer_that_is_none_of_s3_counts_as_not_offered() -> None:
    store = Store(raises={"put_bucket_cors": ResponseParserError("<html>")})
    assert states(store)["browsers of the web app"] is State.MISSING


def test_a_store_that_is_away_or_starting_is_tried_again_by_the_job() -> None:
    for error in (EndpointConnectionError(endpoint_url="http://x"), refused("XMinioServerNotInitialized", 503)):
        with pytest.raises(Retryable):
            taken(Store(raises={"head_bucket": error}))


def test_wrong_keys_are_named() -> None:
    with pytest.raises(Invalid, match="S3_SECRET_ACCESS_KEY"):
        taken(Store(raises={"head_bucket": refused("403", 403)}))


class Raced(Store):
    """A store in which another job makes the bucket between our look and our call."""

    def _create_bucket(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        self.exists = True
        raise refused("BucketAlreadyOwnedByYou", 409)


def test_of_two_jobs_at_once_the_slower_one_finds_the_bucket_made() -> None:
    assert State.REFUSED not in states(Raced()).values()


class WithoutRegions(Store):
    """A store (Ceph) that knows no region by name."""

    def _create_bucket(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        if "CreateBucketConfiguration" in given:
            raise refused("InvalidLocationConstraint", 400)
        return super()._create_bucket(name, given)


def test_a_bucket_is_made_without_a_region_where_the_store_has_none() -> None:
    store = WithoutRegions()
    wish = Wish(bucket="auricle", region="eu-1", origin="", hear_at="")
    assert states(store, wish)["the bucket"] is State.DONE
    assert store.times("create_bucket") == 2


# The rules.


@pytest.mark.parametrize("before", [None, False, True])
def test_access_lists_are_ignored_and_never_refused_by_us(before: bool | None) -> None:
    seen = Seen(access_block=None if before is None else {"BlockPublicAcls": before})
    call = bucket.no_public_access(seen, WISH)
    assert isinstance(call, Call)
    told = call.arguments["PublicAccessBlockConfiguration"]
    assert told == {
        "BlockPublicAcls": bool(before),
        "IgnorePublicAcls": True,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": True,
    }
    assert bucket.no_public_access(Seen(access_block=told), WISH) is None


def test_a_region_is_named_where_it_has_a_name() -> None:
    call = bucket.the_bucket(Seen(exists=False), Wish(bucket="b", region="eu-1", origin="", hear_at=""))
    assert call == Call(
        name="create_bucket", arguments={"Bucket": "b", "CreateBucketConfiguration": {"LocationConstraint": "eu-1"}}
    )
    assert bucket.the_bucket(Seen(exists=False), WISH) == Call(name="create_bucket", arguments={"Bucket": "auricle"})


def test_without_a_listener_and_without_an_origin_nothing_is_asked_for() -> None:
    wish = Wish(bucket="auricle", region="eu-1", origin="", hear_at="")
    assert bucket.browsers_of_the_web_app(Seen(), wish) is None
    assert bucket.arrivals_are_told(Seen(), wish) is None


@pytest.mark.parametrize(("hours", "days"), [(1, 2), (24, 2), (25, 3), (72, 4)])
def test_parts_are_never_forgotten_while_their_upload_is_open(hours: int, days: int) -> None:
    wish = Wish(bucket="b", region="r", origin="", hear_at="", upload_hours=hours)
    assert wish.abandoned_days == days
    assert 24 * days >= hours + 24


def test_other_peoples_rules_stay_and_ours_is_replaced() -> None:
    theirs = {"ID": "theirs", "Status": "Enabled", "Prefix": "exports/", "Transition": {"Days": 3}}
    ours = {
        "ID": "abandoned-parts",
        "Status": "Enabled",
        "Prefix": "",
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 9},
    }
    call = bucket.abandoned_parts(Seen(lifecycle=[theirs, ours]), WISH)
    assert isinstance(call, Call)
    rules = call.arguments["LifecycleConfiguration"]["Rules"]
    assert [rule["ID"] for rule in rules] == ["theirs", "abandoned-parts"]
    assert rules[0] == {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "exports/"}, "Transition": {"Days": 3}}
    assert covers(rules[1], PARTS)


def test_ceph_s_way_to_tell_a_rule_is_understood() -> None:
    assert (
        bucket.abandoned_parts(Seen(lifecycle=[{"ID": "abandoned-parts", "Prefix": "", "Status": "Enabled", **PARTS}]), WISH)
        is None
    )


def test_a_rule_that_is_switched_off_is_no_rule() -> None:
    seen = Seen(lifecycle=[{"ID": "abandoned-parts", "Status": "Disabled", **PARTS}])
    assert isinstance(bucket.abandoned_parts(seen, WISH), Call)


def test_old_versions_go_only_where_there_are_versions() -> None:
    assert bucket.old_versions(Seen(), WISH) is None
    call = bucket.old_versions(Seen(versioned=True), WISH)
    assert isinstance(call, Call)
    assert "'NoncurrentDays': 1" in str(call.arguments)


@pytest.mark.parametrize("expiration", [{"Days": 30}, {"Date": "2030-01-01"}])
def test_a_rule_that_deletes_recordings_by_age_is_a_fault(expiration: dict[str, Any]) -> None:
    seen = Seen(lifecycle=[{"ID": "monthly", "Status": "Enabled", "Expiration": expiration}])
    found = bucket.nothing_expires(seen, WISH)
    assert isinstance(found, Fault)
    assert "monthly" in found.advice


def test_markers_of_deletion_may_expire() -> None:
    seen = Seen(lifecycle=[{"ID": "m", "Status": "Enabled", "Expiration": {"ExpiredObjectDeleteMarker": True}}])
    assert bucket.nothing_expires(seen, WISH) is None


def test_our_job_never_asks_for_an_expiry() -> None:
    store = Store(topics=True)
    store.kept["bucket_versioning"] = {"Status": "Enabled"}
    states(store)
    assert all("Expiration" not in rule for rule in store.kept["bucket_lifecycle_configuration"]["Rules"])


def test_other_peoples_notifications_stay() -> None:
    theirs = {"Id": "audit", "QueueArn": "arn:minio:sqs::AUDIT:kafka", "Events": ["s3:ObjectRemoved:*"]}
    call = bucket.arrivals_are_told(
        Seen(notifications={"QueueConfigurations": [theirs], "LambdaFunctionConfigurations": []}), WISH
    )
    assert isinstance(call, Call)
    told = call.arguments["NotificationConfiguration"]
    assert [rule["Id"] for rule in told["QueueConfigurations"]] == ["audit", "uploads", "drop"]
    assert told["LambdaFunctionConfigurations"] == []


def test_a_stronger_encryption_stays() -> None:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k"}}
    assert bucket.encryption_at_rest(Seen(encryption=[rule]), WISH) is None
    assert bucket.encryption_at_rest(Seen(encryption=[{}]), WISH) is not None


def statement(**changed: Any) -> str:
    return json.dumps({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"} | changed]})


@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}, {"AWS": ["arn:aws:iam:::user/a", "*"]}])
def test_a_policy_for_everybody_is_a_fault_that_fails_the_job(principal: Any) -> None:
    assert lets_everybody_in(statement(Principal=principal))
    found = bucket.nobody_else_let_in(Seen(policy=statement(Principal=principal)), WISH)
    assert isinstance(found, Fault)
    store = Store()
    store.kept["bucket_policy"] = {"Policy": statement()}
    assert states(store)["nobody else let in"] is State.WRONG
    assert State.WRONG.bad


@pytest.mark.parametrize(
    "policy",
    [
        None,
        statement(Principal={"AWS": "arn:aws:iam:::user/a"}),
        statement(Effect="Deny"),
        statement(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
        json.dumps({"Statement": {"Effect": "Deny", "Principal": "*"}}),
    ],
)
def test_other_policies_are_the_administrators_own(policy: str | None) -> None:
    assert not lets_everybody_in(policy)


def test_an_access_list_with_everybody_in_it_is_made_private() -> None:
    grant = {"Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}, "Permission": "READ"}
    call = bucket.nobody_else_let_in(Seen(acl=[grant]), WISH)
    assert call == Call(name="put_bucket_acl", arguments={"Bucket": "auricle", "ACL": "private"})


def test_an_origin_is_scheme_host_and_port() -> None:
    assert [origin_of(u) for u in ("https://a.example/x?y", "http://b:9000", "")] == ["https://a.example", "http://b:9000", ""]
