"""What is decided for one copy, one node and one cache: state in, state out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest

from auricle.errors import Retryable
from auricle_gpu.caching import Exit, Line, Step
from auricle_gpu.manifest import content
from auricle_operator.api.conditions import stamp
from auricle_operator.api.modelcache import Copy, ModelCacheSpec, NodeState
from auricle_operator.api.quantities import readable
from auricle_operator.cluster import JOB, KINDS, MODELS, NODE, POD, Kind, Manifest
from auricle_operator.models import copies, objects, observed
from auricle_operator.models.desired import LOOK_AGAIN, LOOK_LATER, Plan, desired
from auricle_operator.models.objects import Place
from auricle_operator.models.observed import Cache, Job, Node, Progress, Purpose, Seen
from auricle_operator.models.reconcile import reconcile
from auricle_operator.models.space import Claimant, divided
from auricle_operator.outside import Databases, ObjectStores
from auricle_operator.settings import Settings
from auricle_operator.world import World
from builders.operator_cluster import MemoryCluster

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=5)
NEW, OLD = "a" * 64, "b" * 64
SIZE = 100
SETTINGS = Settings()


def ready(digest: str = NEW, verified: datetime = LONG_AGO) -> Copy:
    return Copy(state=NodeState.READY, bytes=SIZE, digest=digest, verified_at=stamp(verified))


def a_job(progress: Progress = Progress.ACTIVE, purpose: Purpose = Purpose.BRING, **more: Any) -> Job:
    said: dict[str, Any] = {"attempt": 1, "number": 1, "begun": NOW - timedelta(seconds=30), "owner": "c", "name": "j"}
    ended = None if progress is Progress.ACTIVE else NOW - timedelta(seconds=10)
    return Job(**{**said, "place": "p", "content": NEW[:40], "purpose": purpose, "progress": progress, "ended": ended, **more})


def failed(**more: Any) -> Job:
    return a_job(Progress.FAILED, **more)


WAITING = Copy(state=NodeState.WAITING)
GONE = Copy(state=NodeState.NODE_GONE, digest=NEW, since=stamp(NOW))
FAILED = Copy(state=NodeState.FAILED, attempts=3, next_try=stamp(NOW + timedelta(seconds=1)))


@pytest.mark.parametrize(
    ("before", "job", "state", "start", "attempt"),
    [
        pytest.param(None, None, NodeState.DOWNLOADING, Purpose.BRING, 1, id="nothing yet"),
        pytest.param(WAITING, None, NodeState.DOWNLOADING, Purpose.BRING, 1, id="waited"),
        pytest.param(GONE, None, NodeState.VERIFYING, Purpose.BRING, 1, id="back again"),
        pytest.param(GONE, a_job(Progress.SUCCEEDED), NodeState.VERIFYING, Purpose.BRING, 1, id="back, with the job of before"),
        pytest.param(
            msgspec.structs.replace(GONE, since=stamp(LONG_AGO)),
            a_job(),
            NodeState.VERIFYING,
            None,
            1,
            id="back, job since then",
        ),
        pytest.param(FAILED, None, NodeState.FAILED, None, 1, id="before the next try"),
        pytest.param(
            msgspec.structs.replace(FAILED, next_try=stamp(NOW)),
            None,
            NodeState.DOWNLOADING,
            Purpose.BRING,
            4,
            id="next try due",
        ),
        pytest.param(ready(), None, NodeState.READY, None, 1, id="there"),
        pytest.param(ready(), a_job(Progress.SUCCEEDED), NodeState.READY, None, 1, id="there, with its job"),
        pytest.param(
            ready(verified=NOW - timedelta(days=7)), None, NodeState.READY, Purpose.BRING, 1, id="not read for a week"
        ),
        pytest.param(ready(), a_job(), NodeState.READY, None, 1, id="being read again"),
        pytest.param(ready(OLD), None, NodeState.DOWNLOADING, Purpose.BRING, 1, id="another content is there"),
        pytest.param(WAITING, a_job(Progress.SUCCEEDED), NodeState.READY, None, 1, id="brought"),
        pytest.param(WAITING, failed(exit=Exit.AWAY), NodeState.FAILED, None, 1, id="just failed"),
        pytest.param(WAITING, failed(exit=1, ended=LONG_AGO), NodeState.DOWNLOADING, Purpose.BRING, 2, id="failed long ago"),
        pytest.param(ready(), failed(), NodeState.READY, None, 1, id="reading again failed before it began"),
        pytest.param(ready(), failed(ended=LONG_AGO), NodeState.READY, Purpose.BRING, 2, id="and is tried again"),
        pytest.param(ready(), failed(exit=Exit.WRONG), NodeState.FAILED, None, 1, id="reading again found it wrong"),
        pytest.param(WAITING, a_job(purpose=Purpose.EVICT), NodeState.WAITING, None, 1, id="while it is taken away"),
        pytest.param(
            Copy(state=NodeState.EVICTED),
            a_job(Progress.SUCCEEDED, Purpose.EVICT),
            NodeState.DOWNLOADING,
            Purpose.BRING,
            1,
            id="wanted again after it left",
        ),
    ],
)
def test_a_copy_that_shall_be_there(
    before: Copy | None, job: Job | None, state: NodeState, start: Purpose | None, attempt: int
) -> None:
    move = copies.brought(before, NEW, SIZE, job, NOW)
    assert (move.copy.state, move.start, move.attempt) == (state, start, attempt)


@pytest.mark.parametrize(
    ("before", "job", "state", "start"),
    [
        pytest.param(None, None, NodeState.EVICTED, None, id="never there"),
        pytest.param(WAITING, None, NodeState.EVICTED, None, id="waited, nothing there"),
        pytest.param(Copy(state=NodeState.EVICTED), None, NodeState.EVICTED, None, id="left"),
        pytest.param(ready(), None, NodeState.WAITING, Purpose.EVICT, id="there"),
        pytest.param(
            Copy(state=NodeState.WAITING, error=copies.GOING),
            None,
            NodeState.WAITING,
            Purpose.EVICT,
            id="cut off before its job",
        ),
        pytest.param(FAILED, None, NodeState.WAITING, Purpose.EVICT, id="half of it may be there"),
        pytest.param(ready(), a_job(Progress.SUCCEEDED), NodeState.WAITING, Purpose.EVICT, id="brought a moment ago"),
        pytest.param(ready(), a_job(purpose=Purpose.EVICT), NodeState.WAITING, None, id="going"),
        pytest.param(ready(), a_job(Progress.SUCCEEDED, Purpose.EVICT), NodeState.EVICTED, None, id="gone"),
        pytest.param(ready(), failed(purpose=Purpose.EVICT), NodeState.FAILED, None, id="could not go"),
        pytest.param(
            ready(), failed(purpose=Purpose.EVICT, ended=LONG_AGO), NodeState.WAITING, Purpose.EVICT, id="is to go once more"
        ),
    ],
)
def test_a_copy_that_shall_leave(before: Copy | None, job: Job | None, state: NodeState, start: Purpose | None) -> None:
    move = copies.evicted(before, job, NOW)
    assert (move.copy.state, move.start) == (state, start)


def test_a_download_under_way_is_stopped_before_it_is_taken_away() -> None:
    job = a_job()
    move = copies.evicted(Copy(state=NodeState.DOWNLOADING), job, NOW)
    assert (move.start, move.stop) == (Purpose.EVICT, job)


@pytest.mark.parametrize(
    ("line", "state", "count"),
    [
        (None, NodeState.DOWNLOADING, 0),
        (Line(step=Step.FETCHING, done=40, total=SIZE), NodeState.DOWNLOADING, 40),
        (Line(step=Step.FETCHING, done=400, total=SIZE), NodeState.DOWNLOADING, SIZE),
        (Line(step=Step.VERIFYING, done=7, total=SIZE), NodeState.VERIFYING, SIZE),
    ],
)
def test_progress_is_what_the_job_last_said(line: Line | None, state: NodeState, count: int) -> None:
    copy = copies.brought(WAITING, NEW, SIZE, a_job(running=True, line=line), NOW).copy
    assert (copy.state, copy.bytes) == (state, count)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"running": True, "begun": LONG_AGO}, ""),
        ({"waiting": "ImagePullBackOff: no such image"}, "ImagePullBackOff: no such image"),
        ({}, ""),
        ({"begun": LONG_AGO, "pod": "model-1"}, "kubectl describe pod model-1"),
    ],
)
def test_a_job_that_does_not_get_on_says_why(more: dict[str, Any], said: str) -> None:
    assert said in copies.brought(WAITING, NEW, SIZE, a_job(**more), NOW).copy.error


def test_pauses_double_up_to_half_an_hour() -> None:
    seconds = [copies.pause(attempt).total_seconds() for attempt in (1, 2, 3, 7, 8, 9, 1000)]
    assert seconds == [15, 30, 60, 960, 1800, 1800, 1800]


def test_a_job_that_ends_without_a_word_is_told_as_that() -> None:
    assert "without a word" in copies.brought(WAITING, NEW, SIZE, failed(), NOW).copy.error


# What lies on a node, and why a pod does not run.


def _pod(**status: Any) -> Manifest:
    return {"metadata": {"name": "pod"}, "status": status}


def _state(**state: Any) -> Manifest:
    return _pod(containerStatuses=[{"name": "models", "state": state}])


@pytest.mark.parametrize(
    ("pod", "waiting"),
    [
        (None, ""),
        (_pod(), ""),
        (
            _pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: cordoned"}]),
            "0/1 nodes: cordoned",
        ),
        (_state(waiting={"reason": "ContainerCreating"}), ""),
        (_state(waiting={"reason": "ErrImagePull", "message": "x"}), "ErrImagePull: x"),
        (_state(running={"startedAt": "now"}), ""),
    ],
)
def test_why_a_pod_does_not_run_is_read_from_its_status(pod: Manifest | None, waiting: str) -> None:
    assert observed.job(_job_manifest(), pod).waiting == waiting


def test_the_deadline_of_a_job_is_its_message_when_the_pod_is_gone() -> None:
    condition = {"type": "Failed", "status": "True", "lastTransitionTime": stamp(NOW), "message": "Job was active too long"}
    job = observed.job({**_job_manifest(), "status": {"conditions": [condition]}}, None)
    assert (job.progress, job.message, job.ended) == (Progress.FAILED, "Job was active too long", NOW)


def test_the_last_line_that_can_be_read_counts() -> None:
    assert observed.last_line('{"step":"fetching","done":5}\n{"step":"fet') == Line(step="fetching", done=5)
    assert observed.last_line("Traceback\n") is None


def _job_manifest() -> Manifest:
    return {
        **objects.job(a_cache(), Place(key="n1", node=a_node("n1")), Purpose.BRING, NEW, 1, 1, SETTINGS),
    } | {"metadata": {**_made_job()["metadata"], "creationTimestamp": stamp(NOW)}}


def _made_job(cache: Cache | None = None, purpose: Purpose = Purpose.BRING) -> Manifest:
    return objects.job(cache or a_cache(), Place(key="n1", node=a_node("n1")), purpose, NEW, 1, 1, SETTINGS, OLD)


# A whole cache.


def a_node(name: str, up: bool = True, **labels: str) -> Node:
    return Node(name=name, labels={"nvidia.com/gpu.present": "true", "kubernetes.io/hostname": f"{name}.host", **labels}, up=up)


def a_cache(name: str = "c", *, nodes: dict[str, Copy] | None = None, size: int = SIZE, **spec: Any) -> Cache:
    consumers = spec.pop("consumers", ())
    given = {
        "model": name,
        "source": {"kind": "http", "uri": "https://models"},
        "files": [{"path": "weights", "size": size, "sha256": content(name, ())}],
        **spec,
    }
    made = Cache(
        manifest={"metadata": {"name": name, "uid": name, "creationTimestamp": stamp(LONG_AGO), "generation": 1}},
        spec=msgspec.convert(given, ModelCacheSpec),
        status=observed.ModelCacheStatus(nodes=nodes or {}),
        consumers=consumers,
    )
    return msgspec.structs.replace(made, status=msgspec.structs.replace(made.status, digest=made.digest))


def decided(cache: Cache, *others: Cache, jobs: tuple[Job, ...] = (), nodes: tuple[Node, ...] = (a_node("n1"),)) -> Plan:
    return desired(cache, Seen(nodes=nodes, others=others, jobs=jobs), SETTINGS, NOW)


def commands(plan: Plan) -> list[list[str]]:
    return [job["spec"]["template"]["spec"]["containers"][0]["command"][3:] for job in plan.jobs]


def test_who_needs_room_sends_others_away_first_and_waits() -> None:
    budget = {"storage": {"budget": "150"}}
    unused = a_cache("unused", **budget)
    unused = msgspec.structs.replace(
        unused, status=msgspec.structs.replace(unused.status, nodes={"n1": ready(unused.digest)}, last_used=stamp(LONG_AGO))
    )
    plan = decided(a_cache("wanted", consumers=("acme",), **budget), unused)
    assert commands(plan) == [["evict", "/models", "unused", unused.digest]]
    assert plan.status.nodes["n1"].error == "It waits until unused has left n1."
    assert plan.delay == LOOK_AGAIN
    (job,) = plan.jobs
    assert job["metadata"]["labels"]["auricle.dev/owner"] == "modelcache.unused"
    again = decided(a_cache("wanted", consumers=("acme",), **budget), unused, jobs=(_seen(job),))
    assert not again.jobs, "it is on its way"


def _seen(job: Manifest) -> Job:
    return observed.job({**job, "metadata": {**job["metadata"], "creationTimestamp": stamp(NOW)}}, None)


def test_an_unused_cache_sends_nobody_away_that_was_used_later() -> None:
    budget = {"storage": {"budget": "150"}}
    later = a_cache("later", **budget)
    later = msgspec.structs.replace(
        later, status=msgspec.structs.replace(later.status, nodes={"n1": ready(later.digest)}, last_used=stamp(NOW))
    )
    plan = decided(a_cache("earlier", **budget), later)
    assert not plan.jobs
    assert "There stay: later (100 bytes, used later)" in plan.status.nodes["n1"].error
    assert plan.delay == LOOK_LATER


def test_a_job_of_a_content_that_nobody_wants_any_more_is_stopped() -> None:
    stale = a_job(content=OLD[:40], owner="c", name="stale", place="node:/var/lib/auricle/models n1")
    plan = decided(a_cache(), jobs=(stale,))
    assert plan.stop == ("stale",)
    assert (JOB, "stale") not in plan.delete, (
        "before its own job is there, nothing else would say that the folder may have changed"
    )


def test_jobs_on_a_node_that_is_gone_are_deleted() -> None:
    cache = a_cache()
    lost = a_job(content=cache.digest[:40], owner="c", name="lost", place="node:/var/lib/auricle/models n9")
    assert (JOB, "lost") in decided(cache, jobs=(lost,)).delete


def test_a_copy_that_is_there_stays_ready_when_the_secret_goes() -> None:
    cache = a_cache()
    cache = msgspec.structs.replace(cache, status=msgspec.structs.replace(cache.status, nodes={"n1": ready(cache.digest)}))
    plan = desired(cache, Seen(nodes=(a_node("n1"),), lacks="hub"), SETTINGS, NOW)
    assert plan.status.nodes["n1"].state is NodeState.READY


def test_a_claim_labels_only_the_nodes_it_is_meant_for() -> None:
    shared = {"storage": {"kind": "claim", "claim": "shared"}, "model": "same", "files": _files()}
    here, there = (a_cache(n, placement={"nodeSelector": {"pool": n}}, **shared) for n in ("here", "there"))
    there = msgspec.structs.replace(
        there, status=msgspec.structs.replace(there.status, nodes={"claim:shared": ready(there.digest)})
    )
    nodes = (a_node("n1", pool="here"), a_node("n2", pool="there"), a_node("n3"))
    plan = decided(here, there, nodes=nodes)
    assert plan.labels == (("n2", f"models.auricle.dev/{there.digest[:12]}", True),)


def test_tries_at_another_content_do_not_count_for_the_new_one() -> None:
    cache = a_cache(nodes={"n1": FAILED})
    changed = msgspec.structs.replace(cache, status=msgspec.structs.replace(cache.status, digest=OLD))
    assert decided(cache).status.nodes["n1"].state is NodeState.FAILED
    assert decided(changed).status.nodes["n1"].attempts == 1


def test_two_unused_caches_of_one_folder_leave_it_to_one_of_them_to_clear() -> None:
    keep = {"retention": {"evictAfter": "1h"}}
    first, second = (a_cache(name, model="same", files=_files(), **keep) for name in ("first", "second"))
    first, second = (
        msgspec.structs.replace(c, status=msgspec.structs.replace(c.status, nodes={"n1": ready(c.digest)}))
        for c in (first, second)
    )
    assert commands(decided(first, second)) == []
    assert commands(decided(second, first)) == [["evict", "/models", "same", first.digest]]


def _files() -> list[dict[str, Any]]:
    return [{"path": "weights", "size": SIZE, "sha256": NEW}]


def test_the_smallest_budget_of_a_storage_holds_and_shared_files_count_once() -> None:
    claimants = [
        Claimant(name="a", files={"x": 80, "y": 10}, safe=True, present=True, last_used=LONG_AGO),
        Claimant(name="b", files={"x": 80, "z": 10}, safe=False, present=False, last_used=NOW),
        Claimant(name="c", files={"w": 10}, safe=False, present=True, last_used=LONG_AGO),
    ]
    assert divided(100, claimants).leaving == {"c"}
    assert divided(100, claimants).taken == 100
    assert divided(110, claimants).kept == {"a", "b", "c"}
    assert divided(None, claimants).kept == {"a", "b", "c"}
    assert divided(50, claimants).kept >= {"a"}, "what is safe and there is never taken away"


def test_zero_copies_are_enough_where_none_is_asked_for() -> None:
    plan = decided(a_cache(placement={"minCopies": 0}), nodes=())
    conditions = {c.type: (c.status.value, c.reason) for c in plan.status.conditions}
    assert conditions["Ready"] == ("True", "Ready")
    assert conditions["Downloaded"] == ("False", "NoNodes")


def test_the_jobs_pod_may_do_nothing_that_restricted_forbids() -> None:
    for purpose in Purpose:
        pod = _made_job(purpose=purpose)["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["securityContext"]["fsGroup"] == 65532
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert not pod["automountServiceAccountToken"]
        assert all("hostPath" not in volume for volume in pod["volumes"])
        assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
        assert pod["nodeSelector"] == {"kubernetes.io/hostname": "n1.host"}


def test_an_eviction_may_take_the_content_of_before_too() -> None:
    assert _made_job(purpose=Purpose.EVICT)["spec"]["template"]["spec"]["containers"][0]["command"][-2:] == [NEW, OLD]


@pytest.mark.parametrize(
    ("storage", "uri", "directory", "volumes"),
    [
        ({}, "/srv/incoming", "/directory", 2),
        ({}, "/var/lib/auricle/models/incoming", "/models/incoming", 1),
        ({"kind": "claim", "claim": "shared"}, "/incoming/x", "/models/incoming/x", 1),
    ],
)
def test_a_directory_is_found_on_the_models_volume_or_on_its_own(
    storage: dict[str, str], uri: str, directory: str, volumes: int
) -> None:
    cache = a_cache(source={"kind": "directory", "uri": uri}, storage=storage)
    place = Place(key="claim:shared") if storage else Place(key="n1", node=a_node("n1"))
    pod = objects.job(cache, place, Purpose.BRING, NEW, 1, 1, SETTINGS)["spec"]["template"]["spec"]
    assert pod["containers"][0]["command"][-2:] == ["--directory", directory]
    claims = {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    assert len(claims) == volumes


def test_names_of_jobs_fit_whatever_nodes_are_called() -> None:
    node = a_node("n" * 250)
    made = objects.job(a_cache("c" * 40), Place(key=node.name, node=node), Purpose.BRING, NEW, 12345, 1, SETTINGS)
    assert len(made["metadata"]["name"]) <= 63
    assert all(len(value) <= 63 for value in made["metadata"]["labels"].values())


@pytest.mark.parametrize(
    ("count", "said"), [(999, "999 bytes"), (1_500, "1.5 kB"), (1_500_000_000, "1.5 GB"), (2 * 10**12, "2.0 TB")]
)
def test_bytes_are_said_for_people(count: int, said: str) -> None:
    assert readable(count) == said


class Deaf(MemoryCluster):
    """Its kubelets do not answer."""

    async def logs(self, namespace: str, pod: str, container: str, lines: int) -> str:
        raise Retryable("away")


@pytest.mark.parametrize(("kind", "count"), [(MemoryCluster, 40), (Deaf, 0)])
def test_progress_is_read_from_the_pods_log_and_missed_by_nobody(kind: type[MemoryCluster], count: int) -> None:
    cluster = kind(lambda: NOW)
    world = World(
        cluster=cluster,
        databases=cast("Databases", None),
        stores=cast("ObjectStores", None),
        settings=SETTINGS,
        now=lambda: NOW,
    )
    cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SETTINGS.namespace}})
    up = {"conditions": [{"type": "Ready", "status": "True"}]}
    labels = {"nvidia.com/gpu.present": "true"}
    cluster.put({**_named(NODE, "n1"), "metadata": {"name": "n1", "labels": labels}, "status": up})
    cluster.put({**_named(MODELS, "c"), "spec": msgspec.to_builtins(a_cache().spec)})
    asyncio.run(reconcile(world, _named(MODELS, "c")))
    (name,) = cluster.there(JOB)
    template = cluster.at(JOB, name, SETTINGS.namespace)["spec"]["template"]["metadata"]["labels"]
    pod = {"name": "pod", "namespace": SETTINGS.namespace, "labels": {**template, "batch.kubernetes.io/job-name": name}}
    running = {"containerStatuses": [{"name": "models", "state": {"running": {}}}]}
    cluster.put({**_named(POD, "pod"), "metadata": pod, "status": running})
    cluster.said[SETTINGS.namespace, "pod"] = '{"step":"fetching","file":"weights","done":40,"total":100}\n'
    assert asyncio.run(reconcile(world, _named(MODELS, "c"))) == LOOK_AGAIN
    assert cluster.at(MODELS, "c")["status"].get("progress", 0) == count
    assert asyncio.run(reconcile(world, _named(MODELS, "nobody"))) is None


def _named(kind: Kind, name: str) -> Manifest:
    assert kind in KINDS
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}}
