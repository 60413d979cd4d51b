"""What the operator does with the functions' code needs none of what only functions need: its image has no numpy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LOCK = (Path(__file__).parents[2] / "operator" / "image" / "operator.lock").read_text()
FUNCTIONS_ONLY = {
    "numpy": "numpy",
    "av": "av",
    "onnxruntime": "onnxruntime",
    "ctranslate2": "ctranslate2",
    "faster-whisper": "faster_whisper",
    "redis": "redis",
    "joserfc": "joserfc",
    "webauthn": "webauthn",
    "pyotp": "pyotp",
    "segno": "segno",
    "ldap3": "ldap3",
    "authlib": "authlib",
    "rich": "rich",
    "psutil": "psutil",
}
"""Package → module."""
RENDER = """
import sys
for module in sys.argv[1:]:
    sys.modules[module] = None
from auricle.deploy.catalogue import catalogue
from auricle.deploy.render import render, units
print(len(render(units(catalogue(), grouped=False))))
"""


def test_all_functions_are_rendered_without_what_only_they_need() -> None:
    pinned = set(re.findall(r"(?m)^([a-z0-9-]+)==", LOCK))
    absent = [module for package, module in FUNCTIONS_ONLY.items() if package not in pinned]
    assert len(absent) > 10
    done = subprocess.run([sys.executable, "-c", RENDER, *absent], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 20
