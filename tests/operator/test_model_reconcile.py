"""Model caches from kubectl to the disks of nodes: how they become ready, stay so, share and make room."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from auricle_gpu.manifest import OK, content, manifest_of
from auricle_gpu.models import require_verified
from auricle_operator.api.conditions import stamp
from auricle_operator.cluster import CLAIM, CONFIG, JOB, NODE, TENANTS, VOLUME
from builders.model_nodes import NAMESPACE
from builders.operator_lab import START, VOICES, Lab, delete, label, laboratory, weights


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with laboratory(tmp_path) as made:
        yield made


def test_a_cache_becomes_ready_on_its_nodes_and_only_there(lab: Lab) -> None:
    lab.cluster.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "web1", "labels": {}}, "status": {}})
    lab.nodes.up("gpu2")
    lab.cache()
    lab.settle()
    assert lab.condition() == ("True", "Ready", "")
    assert lab.status()["copies"] == {"available": 2, "wanted": 2}
    assert lab.status()["progress"] == 100
    assert lab.nodes.labels("gpu1") == lab.nodes.labels("gpu2") == {label(): "ready"}
    assert not lab.nodes.labels("web1")
    assert len(lab.nodes.ran) == 2
    assert require_verified("whisper", lab.nodes.models("gpu2"), digests=True)
    assert [told[1] for told in lab.cluster.told] == ["Verified", "Verified"]


def test_what_is_ready_stays_untouched(lab: Lab) -> None:
    lab.cache()
    lab.settle()
    lab.wait(hours=2)
    lab.nodes.collect()
    lab.cluster.calls.clear()
    lab.turn()
    assert {verb for verb, _ in lab.cluster.calls} == {"list"}
    assert lab.nodes.ran == lab.nodes.ran[:1]


def test_a_corrupt_download_converges_once_its_source_is_right(lab: Lab) -> None:
    lab.store.wrong["model.bin"] = [VOICES["model.bin"][:-1] + b"!"] * 4
    lab.cache()
    lab.settle()
    assert lab.state() == "Failed"
    assert "model.bin of whisper has another sha256" in lab.condition()[2]
    assert not lab.nodes.labels("gpu1")
    assert not (lab.nodes.models("gpu1") / "whisper").exists()
    lab.wait(seconds=13)
    lab.turn()
    assert lab.nodes.work() == 0, "it waits before it tries again"
    lab.wait(seconds=2)
    lab.settle()
    assert lab.status()["nodes"]["gpu1"]["attempts"] == 2
    assert lab.state() == "Failed"
    lab.wait(seconds=31)
    lab.settle()
    assert lab.condition()[0] == "True"


def test_a_full_disk_is_told_and_tried_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    real = shutil.disk_usage(lab.nodes.home)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: type(real)(real.total, real.used, 5))
        lab.cache()
        lab.settle()
    assert lab.condition("SpaceAvailable")[:2] == ("False", "DiskFull")
    assert "and 5 are free" in lab.condition("SpaceAvailable")[2]
    assert lab.condition()[0] == "False"
    assert not list(lab.nodes.models("gpu1").glob("*.partial"))
    lab.wait(minutes=1)
    lab.settle()
    assert lab.condition()[0] == lab.condition("SpaceAvailable")[0] == "True"


def test_a_job_that_vanishes_with_its_pod_is_begun_again(lab: Lab) -> None:
    lab.cache()
    lab.turn()
    (job,) = lab.cluster.there(JOB)
    lab.cluster.remove(JOB, job, NAMESPACE)
    lab.settle()
    assert lab.condition()[0] == "True"


def test_a_changed_digest_brings_the_new_content_and_moves_the_label(lab: Lab) -> None:
    lab.cache()
    lab.settle()
    changed = {**VOICES, "config.json": b"{}"}
    lab.store.files = dict(changed)
    lab.cache(files=changed)
    lab.turn()
    assert lab.state() == "Downloading"
    assert lab.nodes.labels("gpu1") == {label(): "ready"}, "until the new one is there, the old one is whole"
    lab.settle()
    assert lab.condition()[0] == "True"
    assert lab.nodes.labels("gpu1") == {label(changed): "ready"}
    assert (lab.nodes.models("gpu1") / "whisper" / "config.json").read_bytes() == b"{}"
    assert len(lab.cluster.there(CONFIG)) == 1


@pytest.mark.parametrize("seen", ["whole", "begun", "ended unseen"])
def test_content_that_comes_back_is_what_lies_there_and_not_what_a_job_of_before_says(lab: Lab, seen: str) -> None:
    lab.cache()
    lab.settle()
    lab.wait(minutes=1)
    changed = {**VOICES, "config.json": b"{}"}
    lab.store.files["config.json"] = b"{}"
    lab.cache(files=changed)
    lab.turn()
    if seen != "begun":
        lab.wait(seconds=5)
        lab.nodes.work()
    if seen == "whole":
        lab.settle()
        assert lab.nodes.labels("gpu1") == {label(changed): "ready"}
    lab.wait(minutes=1)
    lab.store.files["config.json"] = VOICES["config.json"]
    lab.cache()
    lab.turn()
    assert lab.state() != "Ready"
    lab.settle()
    assert lab.nodes.labels("gpu1") == {label(): "ready"}
    assert (lab.nodes.models("gpu1") / "whisper" / "config.json").read_bytes() == VOICES["config.json"]
    assert require_verified("whisper", lab.nodes.models("gpu1"), digests=True)


def test_a_node_that_goes_is_not_counted_and_is_verified_when_it_comes_back(lab: Lab) -> None:
    lab.nodes.up("gpu2")
    lab.cache(placement={"minCopies": 2})
    lab.settle()
    assert lab.condition()[0] == "True"
    lab.nodes.down("gpu2")
    lab.settle()
    assert lab.state("gpu2") == "NodeGone"
    assert lab.status()["copies"] == {"available": 1, "wanted": 1}
    assert lab.condition()[0] == "False"
    assert len(lab.cluster.there(VOLUME)) == len(lab.cluster.there(CLAIM)) == 1
    lab.wait(minutes=5)
    lab.nodes.up("gpu2")
    lab.turn()
    assert lab.state("gpu2") == "Verifying"
    asked = len(lab.store.asked)
    lab.settle()
    assert lab.state("gpu2") == "Ready"
    assert lab.nodes.labels("gpu2") == {label(): "ready"}
    assert len(lab.store.asked) == asked, "its folder was there"


def test_a_node_that_comes_back_with_a_damaged_folder_is_mended(lab: Lab) -> None:
    lab.cache()
    lab.settle()
    lab.nodes.down("gpu1")
    lab.settle()
    (lab.nodes.models("gpu1") / "whisper" / "model.bin").write_bytes(b"rot")
    lab.wait(minutes=1)
    lab.nodes.up("gpu1")
    lab.settle()
    assert lab.state() == "Ready"
    assert require_verified("whisper", lab.nodes.models("gpu1"), digests=True)


def test_a_node_that_does_not_answer_is_away_too_and_is_forgotten_at_last(lab: Lab) -> None:
    lab.cache()
    lab.settle()
    lab.cluster.at(NODE, "gpu1")["status"]["conditions"][0]["status"] = "Unknown"
    lab.turn()
    assert lab.state() == "NodeGone"
    assert not lab.nodes.labels("gpu1")
    lab.nodes.down("gpu1")
    lab.wait(days=8)
    lab.turn()
    assert lab.status().get("nodes", {}) == {}


def test_two_caches_that_share_a_file_fetch_it_once(lab: Lab) -> None:
    lab.cache()
    lab.settle()
    lab.store.files["other.json"] = b"[]"
    lab.store.asked.clear()
    lab.cache("other", files={"model.bin": VOICES["model.bin"], "other.json": b"[]"})
    lab.settle()
    assert lab.condition(name="other")[0] == "True"
    assert {name for name, _ in lab.store.asked} == {"other.json"}
    inodes = {(lab.nodes.models("gpu1") / name / "model.bin").stat().st_ino for name in ("whisper", "other")}
    assert len(inodes) == 1


def test_two_caches_of_the_same_content_share_jobs_and_folder(lab: Lab) -> None:
    lab.cache("first", model="whisper")
    lab.wait(seconds=1)
    lab.cache("second", model="whisper")
    lab.settle()
    assert len(lab.nodes.ran) == 1
    assert lab.condition(name="first")[0] == lab.condition(name="second")[0] == "True"
    delete(lab, "first")
    assert (lab.nodes.models("gpu1") / "whisper" / OK).exists()
    assert lab.nodes.labels("gpu1") == {label(): "ready"}
    assert any("stays on gpu1: the ModelCache second keeps it" in told[2] for told in lab.cluster.told)
    delete(lab, "second")
    assert not (lab.nodes.models("gpu1") / "whisper").exists()


def test_another_content_under_the_same_name_is_refused(lab: Lab) -> None:
    lab.cache("first", model="whisper")
    lab.wait(seconds=1)
    lab.cache("second", files={"config.json": b"{}"}, model="whisper")
    lab.settle()
    status, reason, message = lab.condition(name="second")
    assert (status, reason) == ("False", "NameTaken")
    assert "The ModelCache first keeps another content" in message
    assert len(lab.nodes.ran) == 1


def test_the_longest_unused_leaves_when_a_budget_is_spent(lab: Lab) -> None:
    half = {"config.json": VOICES["config.json"], "model.bin": VOICES["model.bin"]}
    size = sum(map(len, half.values()))
    storage = {"storage": {"budget": str(int(size * 2.5))}}
    for name in ("oldest", "newer"):
        lab.cache(name, files={**half, f"{name}.json": name.encode(), "model.bin": weights(name)}, **storage)
        lab.store.files |= {f"{name}.json": name.encode()}
        lab.store.files["model.bin"] = weights(name)
        lab.settle()
        lab.wait(hours=1)
    lab.tenant("acme", "wanted")
    lab.store.files["model.bin"] = weights("wanted")
    lab.cache("wanted", files={"config.json": half["config.json"], "model.bin": weights("wanted")}, **storage)
    lab.settle()
    assert lab.condition(name="wanted")[0] == "True"
    assert lab.state(name="oldest") == "Evicted"
    assert lab.state(name="newer") == "Ready"
    assert not (lab.nodes.models("gpu1") / "oldest").exists()
    assert lab.condition(name="oldest")[:2] == ("False", "Evicted")
    assert set(lab.nodes.labels("gpu1").values()) == {"ready"}
    assert len(lab.nodes.labels("gpu1")) == 2


def test_what_finds_no_room_says_what_to_free(lab: Lab) -> None:
    storage = {"storage": {"budget": str(int(sum(map(len, VOICES.values())) * 1.5))}}
    lab.cache("kept", pinned=True, **storage)
    lab.settle()
    lab.wait(hours=1)
    lab.tenant("acme", "wanted")
    lab.cache("wanted", files={"model.bin": b"x" * len(VOICES["model.bin"])}, **storage)
    lab.settle()
    status, reason, message = lab.condition("SpaceAvailable", "wanted")
    assert (status, reason) == ("False", "BudgetExceeded")
    assert "There stay: kept" in message
    assert "pinned" in message
    assert lab.state(name="kept") == "Ready"
    kept = lab.cache("kept", **storage)
    assert not kept["spec"].get("pinned")
    lab.store.files["model.bin"] = b"x" * len(VOICES["model.bin"])
    lab.wait(minutes=1)
    lab.settle()
    assert lab.condition(name="wanted")[0] == "True"
    assert lab.state(name="kept") == "Evicted"


def test_an_unused_cache_leaves_after_its_time_and_comes_back_with_a_tenant(lab: Lab) -> None:
    lab.tenant("acme", "whisper")
    lab.cache(retention={"evictAfter": "24h"})
    lab.settle()
    lab.wait(days=3)
    lab.turn()
    assert lab.state() == "Ready"
    lab.cluster.remove(TENANTS, "acme")
    assert lab.turn() == pytest.approx(24 * 3600)
    lab.wait(hours=25)
    lab.settle()
    assert lab.state() == "Evicted"
    assert lab.condition()[:2] == ("False", "Unused")
    assert not lab.nodes.labels("gpu1")
    assert not (lab.nodes.models("gpu1") / "whisper").exists()
    ran = len(lab.nodes.ran)
    lab.wait(hours=30)
    lab.nodes.collect()
    lab.settle()
    assert len(lab.nodes.ran) == ran
    lab.tenant("acme", "whisper")
    lab.settle()
    assert lab.state() == "Ready"


def test_a_node_that_is_not_meant_any_more_is_cleared(lab: Lab) -> None:
    lab.nodes.up("gpu2", pool="b")
    lab.cache()
    lab.settle()
    lab.cache(placement={"nodeSelector": {"pool": "b"}})
    lab.settle()
    assert set(lab.status()["nodes"]) == {"gpu2"}
    assert not (lab.nodes.models("gpu1") / "whisper").exists()
    assert not lab.nodes.labels("gpu1")
    assert (lab.nodes.models("gpu2") / "whisper" / OK).exists()


def test_what_lies_there_is_read_again_each_week_and_stays_ready_meanwhile(lab: Lab) -> None:
    lab.cache()
    lab.settle()
    lab.wait(days=7, minutes=1)
    lab.nodes.collect()
    lab.turn()
    assert len(lab.cluster.there(JOB)) == 1
    assert lab.state() == "Ready"
    (lab.nodes.models("gpu1") / "whisper" / "config.json").write_bytes(b"rot")
    lab.settle()
    assert lab.state() == "Ready"
    assert require_verified("whisper", lab.nodes.models("gpu1"), digests=True)
    assert lab.status()["nodes"]["gpu1"]["verifiedAt"] > stamp(START + timedelta(days=7))


def test_one_claim_serves_all_nodes(lab: Lab) -> None:
    lab.nodes.up("gpu2")
    lab.cache(storage={"kind": "claim", "claim": "shared"})
    lab.settle()
    assert lab.condition()[0] == "True"
    assert len(lab.nodes.ran) == 1
    assert set(lab.status()["nodes"]) == {"claim:shared"}
    assert lab.nodes.labels("gpu1") == lab.nodes.labels("gpu2") == {label(): "ready"}
    assert not lab.cluster.there(VOLUME)
    delete(lab, "whisper")
    assert not lab.nodes.labels("gpu1")
    assert not (lab.nodes.home / "claims" / "shared" / "whisper").exists()


def test_a_directory_of_the_node_is_mounted_by_its_own_volume(lab: Lab) -> None:
    incoming = lab.nodes.home / "gpu1" / "incoming"
    incoming.mkdir()
    for name, data in VOICES.items():
        (incoming / name).write_bytes(data)
    lab.cache(source={"kind": "directory", "uri": "/srv/incoming"})
    lab.settle()
    assert lab.condition()[0] == "True"
    assert len(lab.cluster.there(VOLUME)) == 2


def test_a_missing_secret_is_named_and_nothing_begins(lab: Lab) -> None:
    lab.cache(source={"kind": "http", "uri": f"{lab.store.url}/base", "credentials": "hub"})
    lab.settle()
    assert lab.condition()[:2] == ("False", "NoCredentials")
    assert not lab.cluster.there(JOB)
    lab.cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub", "namespace": NAMESPACE}})
    lab.settle()
    assert lab.condition()[0] == "True"


def test_without_nodes_it_says_which_labels_it_looks_for(lab: Lab) -> None:
    lab.nodes.down("gpu1")
    lab.cache()
    lab.settle()
    assert lab.condition()[1] == "NoNodes"
    assert "nvidia.com/gpu.present=true" in lab.condition()[2]


def test_a_resource_that_cannot_be_read_says_so_and_disturbs_nobody(lab: Lab) -> None:
    lab.cache()
    lab.cache("odd", files={"x": b""})["spec"]["files"][0]["size"] = "many"
    lab.settle()
    assert lab.condition(name="odd")[1] == "Invalid"
    assert lab.condition()[0] == "True"


def test_a_released_volume_is_made_anew(lab: Lab) -> None:
    lab.cache()
    lab.settle()
    (name,) = lab.cluster.there(VOLUME)
    before = lab.cluster.at(VOLUME, name)["metadata"]["uid"]
    lab.cluster.at(VOLUME, name)["status"] = {"phase": "Released"}
    lab.turn()
    assert lab.cluster.at(VOLUME, name)["metadata"]["uid"] != before


def test_the_ok_that_a_job_writes_is_the_one_that_functions_ask_for(lab: Lab) -> None:
    lab.cache()
    lab.settle()
    manifest = manifest_of(lab.nodes.models("gpu1") / "whisper")
    assert manifest is not None
    assert manifest.source == f"{lab.store.url}/base"
    assert content(manifest.model, manifest.files) == lab.status()["digest"]
