"""Make an installed environment ready for a read-only root: take out what no function imports, compile the rest.

`python finish.py SITE_PACKAGES`, run while an image is built.

A cold start in a read-only root cannot keep what it compiles: without these files every pod would compile everything anew
(measured: 8.7 s instead of 1.7 s). They are trusted without a look at the source (`unchecked-hash`), because no time stamp
survives all image builders and nobody can change a source in a read-only root.
"""

from __future__ import annotations

import compileall
import py_compile
import shutil
import sys
from pathlib import Path

SIGNED_FOR = ("s3", "sns", "endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json")
"""What botocore knows of services, and we ask it for: S3, and the topics by which some stores tell of arrivals. Its other 400
descriptions are 25 MB."""
UNUSED = (
    "**/tests",
    "sqlalchemy/orm",  # we write Core
    "sqlalchemy/testing",
    *(f"sqlalchemy/dialects/{name}" for name in ("mssql", "mysql", "oracle", "sqlite")),
    "alembic/testing",
    # OpenTelemetry needs protobuf; functions-framework has modules of its own in google/cloud.
    *(f"google/{name}" for name in ("api", "cloud/location", "gapic", "logging", "longrunning", "type")),
)
"""What wheels bring along and no function imports; the images' own tests run without it."""
WANTED = {"optuna": "sqlalchemy/"}
"""Packages that import what begins so after all (pyannote's, in the GPU image)."""


def trim(packages: Path) -> int:
    """Delete what no function imports; bytes saved."""
    kept = tuple(path for package, path in WANTED.items() if (packages / package).is_dir())
    unused = [pattern for pattern in UNUSED if not pattern.startswith(kept)]
    doomed = [folder for pattern in unused for folder in packages.glob(pattern) if folder.is_dir()]
    services = packages / "botocore" / "data"
    if services.is_dir():
        doomed += [entry for entry in services.iterdir() if entry.name not in SIGNED_FOR]
    saved = 0
    for path in doomed:
        if not path.exists():
            continue  # inside a folder that went before
        saved += sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return saved


def compile_all(packages: Path) -> bool:
    """Byte code for every source, which Python then uses without asking the source's time; False when one does not compile."""
    how = py_compile.PycInvalidationMode.UNCHECKED_HASH
    return bool(compileall.compile_dir(packages, maxlevels=40, quiet=1, workers=0, force=True, invalidation_mode=how))


def main(folder: str) -> None:
    """Trim, then compile."""
    packages = Path(folder)
    saved = trim(packages)
    if not compile_all(packages):
        sys.exit(f"Some file under {packages} does not compile: see above.")
    sys.stdout.write(f"{packages}: {saved / 1e6:.0f} MB taken out, the rest compiled\n")


if __name__ == "__main__":
    main(sys.argv[1])
