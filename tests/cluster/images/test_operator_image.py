"""The operator's image holds all that the operator and its jobs import, and no weights."""

from __future__ import annotations

import pytest

from cluster.images.built import PACKAGES, image, printed_by

pytestmark = pytest.mark.cluster
PEOPLES = ("auricle_operator.__main__", "auricle_operator.cli")
"""What starts it, and the command line, which is for people's machines and has libraries of its own."""
EVERYTHING = f"""
import importlib, pkgutil, auricle_operator
for module in pkgutil.walk_packages(auricle_operator.__path__, "auricle_operator."):
    if module.name not in {PEOPLES}:
        importlib.import_module(module.name)
"""
RENDERED = """
from auricle.deploy.catalogue import catalogue
from auricle.deploy.render import render, units
print(len(render(units(catalogue(), grouped=False))))
"""
FETCHED = "import auricle_gpu.download, huggingface_hub, boto3, minio, kopf, lightkube, alembic, pg8000"


@pytest.mark.parametrize("code", [EVERYTHING, FETCHED], ids=["everything", "fetched"])
def test_everything_that_the_operator_imports_is_there(code: str) -> None:
    printed_by(image("auricle-operator"), "/app/venv/bin/python", "-c", code)


def test_it_renders_the_functions_of_its_release() -> None:
    assert int(printed_by(image("auricle-operator"), "/app/venv/bin/python", "-c", RENDERED)) > 20


def test_it_has_the_table_of_models_and_no_weights() -> None:
    with image("auricle-operator").mounted() as root:
        assert (root / PACKAGES / "auricle_gpu" / "models.toml").exists()
        assert not (root / PACKAGES / "auricle_gpu" / "demo").exists()


def test_it_starts_the_operator_itself() -> None:
    assert image("auricle-operator").config["Entrypoint"] == ["/app/venv/bin/python", "-m", "auricle_operator"]
