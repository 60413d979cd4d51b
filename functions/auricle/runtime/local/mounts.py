"""What kind of file system a folder is on. Databases and sockets need a local one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from auricle.runtime.local.errors import CannotStart

NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afpfs", "webdav", "davfs", "fuse.sshfs", "fuse.davfs2", "fuse.rclone", "ncpfs"}
    | {"glusterfs", "fuse.glusterfs", "ceph", "lustre", "beegfs", "afs"}
)
FOREIGN = frozenset({"drvfs", "vboxsf", "prl_fs", "vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "hfsplus"})
"""File systems without owners, modes or sockets that PostgreSQL could rely on."""


def filesystem_of(path: Path) -> str:
    """The type of the file system that `path` (or the nearest folder above it that exists) is on; empty when unknown."""
    place = path.resolve()
    while not place.exists():
        place = place.parent
    mounts = _linux_mounts() if sys.platform == "linux" else _bsd_mounts()
    holding = [(point, kind) for point, kind in mounts if place == point or point in place.parents]
    # The longest mount point wins; of several on the same point the last one is on top.
    return max(enumerate(holding), key=lambda found: (len(found[1][0].parts), found[0]))[1][1] if holding else ""


def _linux_mounts() -> list[tuple[Path, str]]:
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), before.split()[4])
        kind, source = after.split()[:2]
        # WSL shows Windows drives as 9p; elsewhere (virtual machines, sandboxes) 9p may well be the root.
        windows = kind == "9p" and (":" in source or source == "drvfs")
        found.append((Path(point), "drvfs" if windows else kind))
    return found


def _bsd_mounts() -> list[tuple[Path, str]]:
    listed = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=10, check=False).stdout
    lines = re.findall(r"^.* on (/.*) \((\w+)", listed, re.MULTILINE)
    return [(Path(point), kind) for point, kind in lines]


def refuse_unfit(data: Path) -> None:
    """Raise when `data` is on a network or foreign file system: PostgreSQL would lose or damage data there."""
    kind = filesystem_of(data)
    if kind in NETWORK:
        raise CannotStart(
            f"{data} is on a network drive ({kind}), where a database is not safe. Choose a local folder with --data."
        )
    if kind in FOREIGN:
        advice = (
            "Under WSL choose a folder in your Linux home" if kind == "drvfs" else "Choose a folder on the system's own disk"
        )
        raise CannotStart(f"{data} is on a {kind} drive, which keeps no file owners and modes. {advice} with --data.")


def make_private(data: Path) -> None:
    """Make the data folder for its owner alone, or say why that cannot be."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("run", "logs", "tmp"):
            (data / name).mkdir(mode=0o700, exist_ok=True)
    except FileExistsError as error:
        raise CannotStart(f"{error.filename} is a file, not a folder. Choose another --data folder.") from error
    except OSError as error:
        raise CannotStart(
            f"The data folder {data} cannot be made: {error.strerror}. Choose another one with --data."
        ) from error
    if not os.access(data, os.W_OK | os.X_OK) or not os.access(data / "run", os.W_OK | os.X_OK):
        raise CannotStart(f"The data folder {data} is not writable for you. Mend its owner, or choose another one with --data.")
