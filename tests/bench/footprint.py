"""How fast and how small functions are: first answer after exec over a bare functions-framework hello, memory of each.

    python tests/bench/footprint.py

Each API function runs alone as functions-framework would run it on Knative (gunicorn, one worker). Memory is PSS: shared
pages are shared out. The idle laptop host is `auricle up` a while after its start.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import urllib3

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.figures import figure

ROOT = Path(__file__).parents[2]
ROUNDS = 5
HELLO = "def handle(request):\n    return 'hello'\n"


def main() -> None:
    """Measure the hello, then every function in turn, then the idle host."""
    from auricle.cli.embedded import embedded_host
    from auricle.contract.choices import Image
    from auricle.runtime import rooms

    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "main.py"
        bare.write_text(HELLO)
        hello, hello_mb = started(bare, {}, "/")
        figure("bare hello", hello, "s", note=f"median of {ROUNDS}, PSS {hello_mb:.0f} MB")
        for name in (*rooms.functions_of(Image.API), *rooms.functions_of(Image.IDENTITY)):
            seconds, megabytes = started(
                ROOT / "functions" / "main.py", {"AURICLE_FUNCTION": name, "EVENT_KEY": "00" * 32}, "/readyz"
            )
            figure(f"{name}: first 200 over hello", seconds / hello, "×", "≤ 1.5", f"{seconds:.2f} s")
            figure(f"{name}: PSS", megabytes, "MB", "≤ 70")
    data = Path(tempfile.mkdtemp())
    with embedded_host(data) as server:
        time.sleep(10)
        server.call("GET", "/health")
        import msgspec

        host = msgspec.json.decode((data / "run" / "host.json").read_bytes())
        supervisor = psutil.Process(host["supervisor"])
        parts = {p.pid: (pss(p), " ".join(p.cmdline())[-60:]) for p in [supervisor, *supervisor.children(recursive=True)]}
        figure("idle laptop host: PSS of all", sum(mb for mb, _ in parts.values()), "MB", "≤ 250", f"{len(parts)} processes")
        for mb, what in sorted(parts.values(), reverse=True)[:6]:
            figure("  of that", mb, "MB", note=what)


def started(source: Path, environment: dict[str, str], path: str) -> tuple[float, float]:
    """Median seconds from exec to the first 200, and PSS in MB afterwards."""
    seconds: list[float] = []
    memory: list[float] = []
    for _ in range(ROUNDS):
        port = _free_port()
        command = [str(Path(sys.executable).parent / "functions-framework"), "--source", str(source), "--target", "handle"]
        env = {**os.environ, **environment, "PORT": str(port), "THREADS": "8"}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            _until_200(f"http://127.0.0.1:{port}{path}", process)
            seconds.append(time.perf_counter() - begun)
            root = psutil.Process(process.pid)
            memory.append(sum(pss(p) for p in [root, *root.children(recursive=True)]))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return statistics.median(seconds), statistics.median(memory)


def pss(process: psutil.Process) -> float:
    """Proportional set size in MB."""
    return float(process.memory_full_info().pss) / 1e6


def _until_200(url: str, process: subprocess.Popen[bytes]) -> None:
    pool = urllib3.PoolManager(retries=False, timeout=5)
    while process.poll() is None:
        try:
            if pool.request("GET", url).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.01)
    raise RuntimeError(f"{url} never answered; the process ended with {process.returncode}")


def _free_port() -> int:
    from auricle.cli.embedded import free_port

    return free_port()


if __name__ == "__main__":
    main()
