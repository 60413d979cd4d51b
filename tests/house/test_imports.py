"""Cold start is a feature: what each function imports is counted, and never anything of another image."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from auricle.contract.choices import Image
from auricle.runtime import rooms

BUDGET_FILE = Path(__file__).with_name("modules.json")
ALLOWANCE = 1.05
"""A function may grow by so much before somebody has to look (python tests/house/test_imports.py records anew)."""
FUNCTIONS = (*rooms.ROUTES, *rooms.STAGES, rooms.TIMER_FUNCTION)

HEAVY = (
    "av",
    "numpy",
    "faster_whisper",
    "ctranslate2",
    "onnxruntime",
    "scipy",
    "torch",
    "rich",
    "waitress",
    "boto3",
    "auricle_gpu",
)
PROVING = ("argon2", "joserfc", "webauthn", "pyotp", "segno", "ldap3", "authlib")
"""What only functions that prove who somebody is are given: whoever checks a token needs none of it."""
FOREIGN: dict[Image, tuple[str, ...]] = {
    Image.API: (*HEAVY, *PROVING),
    Image.IDENTITY: HEAVY,
    Image.MEDIA: ("scipy", "torch", "rich", "waitress", "boto3", "auricle_gpu", "ctranslate2", *PROVING),
    Image.SPEECH: ("sqlalchemy", "pg8000", "alembic", "rich", "waitress", "boto3", "torch", *PROVING),
}
"""Packages that are not in an image; importing one is refused while the function is loaded."""

PROBE = """
import json, os, sys
foreign = set(json.loads(sys.argv[1]))
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in foreign:
            raise ModuleNotFoundError(f"{name} is not in this image", name=name)
sys.meta_path.insert(0, Refuse())
from auricle.runtime.bind import Bound
from auricle.runtime.settings import Settings
Bound(Settings(auricle_function=sys.argv[2]))
print(len(sys.modules))
"""


def image_of(function: str) -> Image:
    return rooms.image_of(function)


def modules(function: str) -> int:
    """How many modules a process that is this function has loaded before its first request."""
    command = [sys.executable, "-c", PROBE, json.dumps(FOREIGN[image_of(function)]), function]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


@pytest.fixture(scope="module")
def counted() -> dict[str, int]:
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(FUNCTIONS, pool.map(modules, FUNCTIONS), strict=True))


def test_every_function_loads_without_the_other_images_packages_and_within_its_budget(counted: dict[str, int]) -> None:
    budget = json.loads(BUDGET_FILE.read_text())
    assert set(budget) == set(counted), "record the budget anew: python tests/house/test_imports.py"
    grown = {name: (count, budget[name]) for name, count in counted.items() if count > budget[name] * ALLOWANCE}
    assert grown == {}, "these functions import more than was recorded; if that is right, record it"


if __name__ == "__main__":
    BUDGET_FILE.write_text(json.dumps({name: modules(name) for name in FUNCTIONS}, indent=1) + "\n")
