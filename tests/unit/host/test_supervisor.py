"""The supervisor keeps its children, and never leaves one behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from auricle.runtime.local import supervisor as module
from auricle.runtime.local.errors import CannotStart
from auricle.runtime.local.supervisor import Stopped, Supervisor, program

ENV = {"PATH": "/usr/bin:/bin"}


def eventually(true: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait until `true` is."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"not true within {seconds} s"
        time.sleep(0.01)


def script(text: str) -> list[str]:
    """A child that runs `text`."""
    return [sys.executable, "-c", textwrap.dedent(text)]


SLEEPER = script("import time; time.sleep(600)")
STUBBORN = script(
    """
    import signal, time, pathlib, sys
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf", flush=True)
    time.sleep(600)
    """
)


def always() -> bool:
    return True


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pids(supervisor: Supervisor) -> dict[str, int]:
    return {name: pid for name, pid, _, _ in supervisor.processes}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that suit a test."""
    monkeypatch.setattr(module, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.1)


def watched(supervisor: Supervisor, meanwhile: Callable[[], None]) -> None:
    """Let `supervisor` watch while `meanwhile` runs beside it; then ask it to stop, as Ctrl-C does."""
    failures: list[BaseException] = []

    def beside() -> None:
        try:
            meanwhile()
        except BaseException as error:
            failures.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=beside)
    thread.start()
    supervisor.watch()
    thread.join()
    if failures:
        raise failures[0]


def test_a_killed_child_is_started_again_and_the_log_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(program("one", SLEEPER, ENV, always))
        supervisor.start(program("two", SLEEPER, ENV, always))
        first = pids(supervisor)

        def kill() -> None:
            for _ in range(3):
                before = pids(supervisor)["one"]
                os.kill(before, signal.SIGKILL)
                eventually(lambda gone=before: pids(supervisor).get("one", gone) != gone)  # type: ignore[misc]

        watched(supervisor, kill)
        assert pids(supervisor)["two"] == first["two"]
        assert [restarts for name, _, _, restarts in supervisor.processes] == [3, 0]
    assert "the one was ended by SIGKILL; started again" in caplog.text


def test_leaving_stops_the_last_child_first(tmp_path: Path) -> None:
    record = tmp_path / "order"

    def child(name: str) -> list[str]:
        return script(
            f"""
            import signal, sys, time
            def end(number, frame):
                with open({str(record)!r}, "a") as file:
                    file.write("{name} ")
                sys.exit()
            signal.signal(signal.SIGTERM, end)
            open({str(tmp_path / name)!r}, "w").close()
            while True:
                time.sleep(1)
            """
        )

    with Supervisor(tmp_path) as supervisor:
        for name in ("database", "broker", "gateway"):
            supervisor.start(program(name, child(name), ENV, (tmp_path / name).exists))
        gone = list(pids(supervisor).values())
    assert record.read_text().split() == ["gateway", "broker", "database"]
    assert not any(alive(pid) for pid in gone)


def test_a_deaf_child_and_what_it_started_are_killed(tmp_path: Path) -> None:
    family = script(
        f"""
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open({str(tmp_path / "pid")!r}, "w") as file:
            file.write(str(grandchild.pid) + ".")
        time.sleep(600)
        """
    )
    written = tmp_path / "pid"
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(
            program("deaf", family, ENV, lambda: written.exists() and written.read_text().endswith("."), patience=0.1)
        )
        both = [pids(supervisor)["deaf"], int(written.read_text().rstrip("."))]
    eventually(lambda: not any(alive(pid) for pid in both))


def test_a_child_that_never_becomes_ready_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    dying = script("import sys; sys.exit('no space left on device')")
    with (
        Supervisor(tmp_path) as supervisor,
        pytest.raises(CannotStart, match=r"The broker does not start: no space left on device\. See"),
    ):
        supervisor.start(program("broker", dying, ENV, lambda: False))


def test_the_last_words_of_our_own_programs_are_their_message(tmp_path: Path) -> None:
    dying = script("""import sys; sys.exit('{"level": "CRITICAL", "message": "The plan is wrong."}')""")
    with (
        Supervisor(tmp_path) as supervisor,
        pytest.raises(CannotStart, match=r"The broker does not start: The plan is wrong\. See"),
    ):
        supervisor.start(program("broker", dying, ENV, lambda: False))


def test_stopping_while_a_child_is_not_ready_yet_leaves_nothing(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(Stopped):
            supervisor.start(program("slow", SLEEPER, ENV, lambda: False))
        pid = pids(supervisor)["slow"]
    assert not alive(pid)


def test_a_step_gets_its_input_and_gives_its_output(tmp_path: Path) -> None:
    echo = script("import sys; sys.stdout.write(sys.stdin.read().upper() * 50_000)")
    with Supervisor(tmp_path) as supervisor:
        assert supervisor.run("step", echo, ENV, b"abc") == b"ABC" * 50_000


def test_a_failed_step_is_told_with_its_last_words(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor, pytest.raises(CannotStart, match=r"The step migrate failed: It is broken\."):
        supervisor.run("migrate", script("import sys; sys.exit('It is broken')"), ENV)


def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    parent = script(
        f"""
        import pathlib, sys
        from auricle.runtime.local.supervisor import Supervisor, program
        with Supervisor(pathlib.Path({str(tmp_path)!r})) as supervisor:
            supervisor.start(program("one", [sys.executable, "-c", "import time; time.sleep(600)"], {{}}, lambda: True))
            print(supervisor.processes[0][1], flush=True)
            supervisor.watch()
        """
    )
    if sys.platform != "linux":
        pytest.skip("elsewhere the children themselves watch their parent, which a sleeping child does not")
    with subprocess.Popen(parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert alive(pid)
        process.kill()
    eventually(lambda: not alive(pid))


def test_logs_are_bounded_and_their_end_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOG", 1000)
    (tmp_path / "one.log").write_bytes(b"old " * 500 + b"newest")
    Supervisor(tmp_path)._turn_logs()
    assert (tmp_path / "one.log").stat().st_size == 0
    kept = (tmp_path / "one.log.1").read_bytes()
    assert len(kept) == 1000
    assert kept.endswith(b"newest")


def test_changes_are_told(tmp_path: Path) -> None:
    told: list[int] = []
    with Supervisor(tmp_path, lambda supervisor: told.append(len(supervisor.processes))) as supervisor:
        supervisor.start(program("one", SLEEPER, ENV, always))
        supervisor.start(program("two", SLEEPER, ENV, always))
    assert told == [1, 2]
