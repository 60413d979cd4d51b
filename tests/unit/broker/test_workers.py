"""Workers come when they are needed, go when they are not, and never outlive their broker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from auricle.runtime.local import crew as module
from auricle.runtime.local.broker.client import ConnectionLost, HttpClient
from auricle.runtime.local.plan import Delivery, Pool, Subscription
from auricle.runtime.local.workers import NoWorker, WorkerDied, Workers, WorkerState
from builders.broker_process import broker, event_headers, plan_of, post
from builders.postgres_server import Server

PROGRAM = str(Path(__file__).parents[2] / "builders" / "worker_program.py")


def pool(mode: str = "", **changes: object) -> Pool:
    """An on-demand pool of the test program."""
    given = {"name": "pool", "functions": ("work",), "command": (sys.executable, PROGRAM, mode), **changes}
    return Pool(**given)  # type: ignore[arg-type]


@asynccontextmanager
async def working(folder: Path, *pools: Pool) -> AsyncIterator[tuple[Workers, HttpClient]]:
    """Workers, stopped afterwards."""
    client = HttpClient()
    workers = Workers(pools, logs=folder / "logs", client=client, environment=os.environ)
    try:
        yield workers, client
    finally:
        await workers.stop(0.5)
        client.close()


async def ask(workers: Workers, client: HttpClient, patience: float = 20.0) -> int:
    """The process id of the worker that answered a request."""
    async with workers.loan("pool") as loan:
        try:
            async with asyncio.timeout(patience):
                return int((await client.request("POST", loan.url + "/work", body=b"{}")).body)
        except TimeoutError:
            loan.spoil()
            raise


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for `condition`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run(work: Callable[[], object]) -> None:
    """Run a coroutine function."""
    asyncio.run(work())  # type: ignore[arg-type]


def test_nothing_runs_until_the_first_request_and_one_process_serves_the_next(tmp_path: Path) -> None:
    async def story() -> None:
        async with working(tmp_path, pool(env={"FLAVOUR": "vanilla"})) as (workers, client):
            assert workers.status()[0].workers == ()
            first = await ask(workers, client)
            assert first == await ask(workers, client)
            (worker,) = workers.status()[0].workers
            assert (worker.pid, worker.state, worker.busy, worker.served) == (first, WorkerState.READY, 0, 2)
        assert not alive(first)
        assert "FLAVOUR=vanilla" in (tmp_path / "logs" / "pool.log").read_text()

    run(story)


def test_an_idle_worker_is_stopped_and_the_next_request_starts_another(tmp_path: Path) -> None:
    async def story() -> None:
        async with working(tmp_path, pool(idle_seconds=0.1)) as (workers, client):
            first = await ask(workers, client)
            await until(lambda: not workers.status()[0].workers)
            assert not alive(first)
            assert await ask(workers, client) != first

    run(story)


def test_activation_keeps_a_worker_from_idling(tmp_path: Path) -> None:
    async def story() -> None:
        async with working(tmp_path, pool(idle_seconds=1.0)) as (workers, client):
            url = await workers.activate("work")
            for _ in range(5):
                await asyncio.sleep(0.25)
                assert await workers.activate("work") == url
            assert (await client.request("GET", f"{url}/readyz")).status == 200
            with pytest.raises(KeyError):
                await workers.activate("unknown")

    run(story)


def test_more_requests_start_more_workers_up_to_the_cap_and_share_them(tmp_path: Path) -> None:
    async def story() -> None:
        async with working(tmp_path, pool("slow", max_workers=2, concurrency=2)) as (workers, client):
            asked = [asyncio.create_task(ask(workers, client)) for _ in range(10)]
            await until(lambda: workers.status()[0].busy == 4)
            status = workers.status()[0]
            assert len(status.workers) == 2
            assert {worker.busy for worker in status.workers} == {2}
            assert status.queued == 6
            assert len(set(await asyncio.gather(*asked))) == 2

    run(story)


def test_a_resident_pool_bounds_its_requests(tmp_path: Path) -> None:
    async def story() -> None:
        resident = Pool(name="pool", functions=("work",), url="http://127.0.0.1:9/", concurrency=2)
        async with working(tmp_path, resident) as (workers, _):
            assert await workers.activate("work") == "http://127.0.0.1:9"
            async with workers.loan("pool"), workers.loan("pool"):
                third = asyncio.create_task(workers.loan("pool").__aenter__())
                await asyncio.sleep(0)
                assert (workers.status()[0].busy, workers.status()[0].queued) == (2, 1)
                assert not third.done()
                third.cancel()

    run(story)


def test_a_worker_that_dies_under_a_request_is_told_apart_and_replaced(tmp_path: Path) -> None:
    async def story() -> None:
        async with working(tmp_path, pool("die-on-request")) as (workers, client):
            for _ in range(2):
                with pytest.raises(WorkerDied):
                    await ask(workers, client)

    run(story)


def test_a_killed_worker_is_replaced_without_failing_who_waits(tmp_path: Path) -> None:
    async def story() -> None:
        async with working(tmp_path, pool("slow")) as (workers, client):
            asked = [asyncio.create_task(ask(workers, client)) for _ in range(3)]
            await until(lambda: workers.status()[0].busy == 1)
            os.kill(workers.status()[0].workers[0].pid, signal.SIGKILL)
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert sum(isinstance(result, WorkerDied) for result in results) == 1
            assert sum(isinstance(result, int) for result in results) == 2

    run(story)


def test_nobody_is_given_a_process_that_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who had a request there can know of its end before its crew does."""
    real = module.Crew._watch_over

    async def late(crew: module.Crew, worker: module.Worker) -> str | None:
        trouble = await real(crew, worker)
        await asyncio.sleep(0.3)
        return trouble

    monkeypatch.setattr(module.Crew, "_watch_over", late)

    async def story() -> None:
        async with working(tmp_path, pool("slow")) as (workers, client):
            asked = [asyncio.create_task(ask(workers, client)) for _ in range(3)]
            await until(lambda: workers.status()[0].busy == 1)
            os.kill(workers.status()[0].workers[0].pid, signal.SIGKILL)
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert sum(isinstance(result, WorkerDied) for result in results) == 1
            assert sum(isinstance(result, int) for result in results) == 2

    run(story)


def test_a_program_that_crashes_says_why_to_who_waits(tmp_path: Path) -> None:
    async def story() -> None:
        async with working(tmp_path, pool("crash")) as (workers, client):
            with pytest.raises(NoWorker, match=r"No worker of pool comes up.*the model /models/x is missing"):
                await ask(workers, client)
            assert "is missing" in (workers.status()[0].trouble or "")

    run(story)


def test_a_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with working(tmp_path, pool(command=(str(tmp_path / "nowhere"),))) as (workers, client):
            with pytest.raises(NoWorker, match="cannot be started: No such file"):
                await ask(workers, client)

    run(story)


def test_a_worker_that_is_never_ready_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORGIVEN", 0)

    async def story() -> None:
        async with working(tmp_path, pool("never-ready", ready_seconds=0.5)) as (workers, client):
            with pytest.raises(NoWorker, match=r"was not ready after 0\.5 s") as caught:
                await ask(workers, client)
            assert "token=secret" not in str(caught.value)
            await until(lambda: not workers.status()[0].workers)

    run(story)


def test_a_hanging_worker_serves_nobody_else(tmp_path: Path) -> None:
    async def story() -> None:
        async with working(tmp_path, pool("hang")) as (workers, client):
            with pytest.raises(TimeoutError):
                await ask(workers, client, patience=0.2)
            first = workers.status()[0].workers[0].pid
            await until(lambda: not alive(first))

    run(story)


def test_a_lost_connection_to_a_living_worker_is_just_that(tmp_path: Path) -> None:
    async def story() -> None:
        async with working(tmp_path, pool()) as (workers, _):
            with pytest.raises(ConnectionLost) as caught:
                async with workers.loan("pool"):
                    raise ConnectionLost("the answer is not HTTP")
            assert not isinstance(caught.value, WorkerDied)

    run(story)


def test_a_request_given_up_while_waiting_takes_no_place(tmp_path: Path) -> None:
    async def story() -> None:
        async with working(tmp_path, pool()) as (workers, client):
            waiting = asyncio.create_task(ask(workers, client))
            await until(lambda: workers.status()[0].queued == 1)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert await ask(workers, client)
            assert workers.status()[0].busy == 0

    run(story)


def test_a_large_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_BYTES", 10)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "pool.log").write_text("what was said yesterday")

    async def story() -> None:
        async with working(tmp_path, pool()) as (workers, client):
            await ask(workers, client)

    run(story)
    assert (tmp_path / "logs" / "pool.log.1").read_text() == "what was said yesterday"
    assert "yesterday" not in (tmp_path / "logs" / "pool.log").read_text()


def test_stopping_ends_what_is_starting_and_what_workers_started(tmp_path: Path) -> None:
    async def story() -> int:
        child_file = tmp_path / "child"
        with_child = pool("with-child", env={"CHILD_FILE": str(child_file)})
        other = pool("never-ready", name="other", functions=("other",))
        async with working(tmp_path, with_child, other) as (workers, client):
            starting = asyncio.create_task(workers.activate("other"))
            await ask(workers, client)
            await until(lambda: bool(workers.status()[1].workers))
        with pytest.raises(NoWorker):
            await starting
        return int(child_file.read_text())

    child = asyncio.run(story())
    deadline = time.monotonic() + 20
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_workers_end_with_a_broker_that_is_killed(tmp_path: Path, postgres_server: Server) -> None:
    child_file = tmp_path / "child"
    url = postgres_server.owner_url(postgres_server.new_database())
    subscription = Subscription(name="work", filter={"type": "t"}, pool="pool", path="/work", delivery=Delivery())
    plan = plan_of(tmp_path, url, [subscription], [pool("with-child", env={"CHILD_FILE": str(child_file)})])
    with broker(plan) as process:
        assert post(process.ingress, b"{}", event_headers("t"))[0] == 202
        process.wait_settled()
        (worker,) = process.status()["pools"][0]["workers"]
        assert alive(worker["pid"])
        process.kill()
        deadline = time.monotonic() + 20
        while alive(worker["pid"]) or alive(int(child_file.read_text())):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_child_that_watches_ends_with_a_parent_that_gave_it_no_pipe() -> None:
    child = "from auricle.runtime.local.parent import watch_parent; import time; watch_parent(); time.sleep(60)"
    script = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdin=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    time.sleep(0.5)  # the child has begun to watch, usually; if not, it sees at once that its parent is another
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
