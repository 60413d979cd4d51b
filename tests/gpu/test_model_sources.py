"""Every kind of place that models come from serves the same bytes, goes on where it stopped, and says what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auricle.errors import Invalid, Permanent, Retryable
from auricle_gpu.caching import Order, source_of
from auricle_gpu.folders import gather, wrong_files
from auricle_gpu.models import DEMO
from auricle_gpu.sources import Source
from auricle_gpu.sources.directory import Directory
from auricle_gpu.sources.oci import Registry
from auricle_gpu.sources.s3 import prefix
from auricle_gpu.sources.web import beneath
from builders.model_store import KEY, REPO, SECRET, ModelStore, listed, model_store
from gpu.model_hub import COMMIT, model_hub

FILES = {path.name: path.read_bytes() for path in sorted((DEMO / "whisper-demo").iterdir())} | {"deep/er/empty.txt": b""}


@pytest.fixture
def store() -> Iterator[ModelStore]:
    with model_store(FILES) as started:
        yield started


def web(store: ModelStore) -> Source:
    return beneath(f"{store.url}/base/", pause=0.01)


def registry(store: ModelStore) -> Source:
    return Registry(f"{store.url}/{REPO}", store.digest, pause=0.01)


def bucket(store: ModelStore) -> Source:
    store.signed = True
    return prefix("s3://bucket/some/prefix", store.url, "eu-test-1", KEY, SECRET, pause=0.01)


def silent(*_: object) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("source", [web, registry, bucket])
def test_a_source_brings_every_file_and_goes_on_where_its_connection_broke(
    store: ModelStore, tmp_path: Path, source: Callable[[ModelStore], Source]
) -> None:
    store.break_after, store.breaks = 700_000, 3
    assert gather(source(store), listed(FILES), tmp_path, silent) == sum(map(len, FILES.values()))
    assert wrong_files(tmp_path, listed(FILES), silent) == {}
    assert [start > 0 for name, start in store.asked if name == "model.bin"][:2] == [False, True]


def test_a_hub_brings_files_at_a_commit(tmp_path: Path) -> None:
    files = {name: data for name, data in FILES.items() if "/" not in name}
    with model_hub(files) as hub:
        order = Order(model="m", kind="hf", uri="org/model", revision=COMMIT, endpoint=hub.url, files=listed(files))
        gather(source_of(order, None, None), order.files, tmp_path, silent)
    assert wrong_files(tmp_path, order.files, silent) == {}


def test_a_directory_is_copied_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(FILES["model.bin"][:1000])
    files = listed({"model.bin": FILES["model.bin"]})
    assert gather(Directory(DEMO / "whisper-demo"), files, tmp_path, silent) == len(FILES["model.bin"]) - 1000
    assert wrong_files(tmp_path, files, silent) == {}


def test_a_directory_is_not_left_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "source" / "weights").symlink_to(tmp_path / "secret")
    with pytest.raises(Permanent, match="has no file weights"):
        gather(Directory(tmp_path / "source"), listed({"weights": b"x"}), tmp_path / "target", silent)


def test_a_directory_with_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"longer")
    with pytest.raises(Permanent, match="another size"):
        gather(Directory(tmp_path), listed({"weights": b"x"}), tmp_path / "target", silent)


def test_credentials_are_read_from_the_mounted_secret(store: ModelStore, tmp_path: Path) -> None:
    store.token = "t0ken"
    order = Order(model="m", kind="http", uri=f"{store.url}/base", files=listed({"config.json": FILES["config.json"]}))
    with pytest.raises(Permanent, match=r"source\.credentials"):
        gather(source_of(order, None, None), order.files, tmp_path / "a", silent)
    (tmp_path / "token").write_text("t0ken\n")
    gather(source_of(order, tmp_path, None), order.files, tmp_path / "b", silent)
    assert store.headers[-1]["authorization"] == "Bearer t0ken"


def test_a_bucket_refuses_another_key_in_words(store: ModelStore, tmp_path: Path) -> None:
    store.signed = True
    order = Order(
        model="m", kind="s3", uri="s3://bucket/some/prefix", endpoint=store.url, region="eu-test-1", files=listed(FILES)
    )
    (tmp_path / "access-key-id").write_text(KEY)
    (tmp_path / "secret-access-key").write_text("wrong")
    with pytest.raises(Permanent, match="access-key-id and secret-access-key"):
        gather(source_of(order, tmp_path, None), order.files, tmp_path / "m", silent)
    (tmp_path / "secret-access-key").write_text(SECRET)
    gather(source_of(order, tmp_path, None), order.files, tmp_path / "m", silent)


def test_a_registry_is_signed_into_as_it_asks(store: ModelStore, tmp_path: Path) -> None:
    store.token = "given"
    with pytest.raises(Permanent, match="username and password"):
        gather(registry(store), listed(FILES), tmp_path / "a", silent)
    known = Registry(f"{store.url}/{REPO}", store.digest, username="robot", password="pass")
    gather(known, listed(FILES), tmp_path / "b", silent)
    assert wrong_files(tmp_path / "b", listed(FILES), silent) == {}


def test_a_manifest_that_is_not_the_one_asked_for_is_not_trusted(store: ModelStore, tmp_path: Path) -> None:
    store.wrong["manifest"] = [store.manifest + b" "]
    with pytest.raises(Permanent, match="do not trust it"):
        gather(registry(store), listed(FILES), tmp_path, silent)


def test_a_layer_without_a_title_is_found_by_its_digest(store: ModelStore, tmp_path: Path) -> None:
    renamed = listed({"renamed.json": FILES["config.json"]})
    gather(registry(store), renamed, tmp_path, silent)
    with pytest.raises(Permanent, match="no layer with the title other"):
        gather(registry(store), listed({"other": b"other"}), tmp_path, silent)


@pytest.mark.parametrize("uri", ["registry", "registry/repo:tag", "ftp://registry/repo", "registry/../x"])
def test_what_is_no_repository_is_refused(uri: str) -> None:
    with pytest.raises(Invalid):
        Registry(uri, "sha256:00")


def test_a_registry_that_is_away_or_in_trouble_is_tried_later(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(Retryable):
        gather(Registry(f"http://127.0.0.1:9/{REPO}", store.digest), listed(FILES), tmp_path, silent)


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (Order(model="m", kind="s3", uri="s3://bucket", files=()), "endpoint"),
        (Order(model="m", kind="s3", uri="https://bucket", endpoint="http://x", files=()), "s3://"),
        (Order(model="m", kind="ftp", uri="ftp://x", files=()), "Nobody knows"),
    ],
)
def test_an_order_that_cannot_be_understood_says_why(order: Order, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        source_of(order, None, None)
