"""A worker of the embedded host: some functions in one process, started by the broker when there is work.

`python -m auricle.runtime.local.worker` with PORT, AURICLE_FUNCTION and THREADS. The same functions-framework application
as in a container, on a server that needs one process instead of two.
"""

from __future__ import annotations

from auricle.runtime.local.application import application
from auricle.runtime.local.parent import watch_parent
from auricle.runtime.local.serving import listening, serve
from auricle.runtime.settings import child_environment, settings


def main() -> None:
    """Serve until the broker ends us, or is gone."""
    watch_parent()
    functions = application()
    serve(functions, [listening(f"127.0.0.1:{child_environment({})['PORT']}")], settings().threads)


if __name__ == "__main__":
    main()
