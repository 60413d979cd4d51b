"""A data folder that cannot work is refused before anything is in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from auricle.runtime.local import mounts
from auricle.runtime.local.addresses import answers, claimed, driver_named
from auricle.runtime.local.errors import CannotStart
from auricle.runtime.local.hostfile import HostFile, Lock, Running, holder, host_path, read, write


def table(*lines: str) -> list[tuple[Path, str]]:
    """The mounts that such a `/proc/self/mountinfo` shows."""
    return [(Path(point), kind) for point, kind in (line.split() for line in lines)]


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/home/me/data", "ext4"),
        ("/mnt/c/data", "drvfs"),
        ("/net/home/data", "nfs4"),
        ("/net/homely", "ext4"),
        ("/mnt/usb/a", "exfat"),
    ],
)
def test_the_longest_mount_point_decides(place: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = table("/ ext4", "/mnt/c drvfs", "/net/home nfs4", "/mnt/usb vfat", "/mnt/usb exfat")
    monkeypatch.setattr(mounts, "_linux_mounts" if sys.platform == "linux" else "_bsd_mounts", lambda: lines)
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.setattr(Path, "resolve", lambda path: path)
    assert mounts.filesystem_of(Path(place)) == kind


@pytest.mark.parametrize(
    ("kind", "words"), [("nfs4", "network drive"), ("cifs", "network drive"), ("drvfs", "Linux home"), ("exfat", "owners")]
)
def test_network_and_foreign_drives_are_refused_with_advice(kind: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "filesystem_of", lambda path: kind)
    with pytest.raises(CannotStart, match=words):
        mounts.refuse_unfit(Path("/data"))


def test_an_ordinary_folder_is_accepted(tmp_path: Path) -> None:
    mounts.refuse_unfit(tmp_path / "not" / "there" / "yet")


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    data = tmp_path / "a" / "data"
    mounts.make_private(data)
    assert data.stat().st_mode & 0o777 == 0o700
    assert {p.name for p in data.iterdir()} == {"run", "logs", "tmp"}


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(CannotStart, match=r"--data"):
        mounts.make_private(tmp_path / "data")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which even root cannot write")
def test_an_unwritable_place_is_said() -> None:
    with pytest.raises(CannotStart, match=r"cannot be made.*--data"):
        mounts.make_private(Path("/proc/self/auricle"))


def test_one_host_per_folder(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with Lock(tmp_path):
        assert holder(tmp_path) == os.getpid()
        with pytest.raises(CannotStart, match=f"already running.*process {os.getpid()}"), Lock(tmp_path):
            raise AssertionError
    assert holder(tmp_path) is None


def test_a_lock_of_a_dead_host_is_no_lock(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from auricle.runtime.local.hostfile import Lock; Lock(Path({str(tmp_path)!r})).__enter__(); import os; os._exit(9)"
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert (tmp_path / "lock").read_text().strip().isdigit()
    with Lock(tmp_path):
        assert holder(tmp_path) == os.getpid()


def test_the_host_file_counts_only_while_its_host_lives(tmp_path: Path) -> None:
    host = HostFile(
        supervisor=1, url="u", broker_url="b", since=1.0, database="embedded", processes=(Running(name="a", pid=2, since=3.0),)
    )
    (tmp_path / "run").mkdir()
    write(host_path(tmp_path), host)
    assert read(tmp_path) is None
    with Lock(tmp_path):
        assert read(tmp_path) == host


def test_a_taken_port_is_named() -> None:
    with claimed("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(CannotStart, match=rf"Port {port} on 127\.0\.0\.1 cannot be used.*--port"),
            claimed("127.0.0.1", port),
        ):
            raise AssertionError


def test_nobody_answers_on_a_free_port() -> None:
    with claimed("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    assert not answers("127.0.0.1", port, "/readyz")


@pytest.mark.parametrize("url", ["postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+pg8000://u:p@h/d"])
def test_other_programs_database_addresses_are_understood(url: str) -> None:
    assert driver_named(url) == "postgresql+pg8000://u:p@h/d"


@pytest.mark.parametrize("url", ["mysql://u:p@h/d", "auricle", "postgresql+asyncpg://u@h/d"])
def test_addresses_of_other_databases_are_refused(url: str) -> None:
    with pytest.raises(CannotStart, match="postgresql://"):
        driver_named(url)
