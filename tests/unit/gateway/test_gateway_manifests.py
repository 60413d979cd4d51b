"""What the gateway's pod is made of fits together."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from auricle.runtime.clientheaders import PREFIX, SIGNATURE, VALUES, VERSION
from auricle.runtime.limits import MAX_BODY
from auricle.runtime.problems import UNEXPECTED

GATEWAY = Path(__file__).parents[3] / "manifests" / "base" / "gateway"
DEPLOYMENT: dict[str, Any] = yaml.safe_load((GATEWAY / "deployment.yaml").read_text())
POD: dict[str, Any] = DEPLOYMENT["spec"]["template"]["spec"]
SCRIPT = (GATEWAY / "auricle.js").read_text()


def said(name: str) -> str:
    """A configuration file without its comments."""
    return re.sub(r"^\s*#.*$", "", (GATEWAY / name).read_text(), flags=re.MULTILINE)


def test_the_pod_holds_every_file_that_nginx_reads() -> None:
    listed = set(yaml.safe_load((GATEWAY / "kustomization.yaml").read_text())["configMapGenerator"][0]["files"])
    assert listed == {p.name for p in GATEWAY.iterdir() if p.suffix in (".conf", ".js")}
    read = {name for file in listed if file.endswith(".conf") for name in re.findall(r"(?:include|from) ([\w.]+);", said(file))}
    assert listed == read | {"nginx.conf"}


@pytest.mark.parametrize(
    ("resolv", "resolver"),
    [
        ("search a.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n", "10.96.0.10"),
        ("nameserver 10.0.0.1 \n# nameserver 9.9.9.9\nnameserver fd00::a\n", "10.0.0.1 [fd00::a]"),
    ],
)
def test_the_node_s_name_servers_and_the_namespace_become_configuration(tmp_path: Path, resolv: str, resolver: str) -> None:
    (first,) = POD["initContainers"]
    (tmp_path / "resolv.conf").write_text(resolv)
    shell, option, script = first["command"]
    script = script.replace("/etc/resolv.conf", f"{tmp_path}/resolv.conf").replace("/etc/auricle/here", str(tmp_path))
    subprocess.run([shell, option, script], check=True, env={"PATH": os.environ["PATH"], "POD_NAMESPACE": "vault"}, timeout=10)
    written = (tmp_path / "here.conf").read_text()
    assert written == f"resolver {resolver} valid=10s;\nmap '' $auricle_home {{ default vault; }}\n"


def test_nginx_ends_requests_before_the_pod_is_killed() -> None:
    patience = re.search(r"worker_shutdown_timeout (\d+)s;", said("nginx.conf"))
    assert patience
    (container,) = POD["containers"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["terminationGracePeriodSeconds"] > int(patience[1]) + pause
    assert "STOPSIGNAL SIGQUIT" in (GATEWAY / "Dockerfile").read_text()


def test_nginx_signs_what_the_doors_check() -> None:
    sets = re.findall(rf"proxy_set_header ({PREFIX}\S+) (\S+);", said("functions.conf"))
    # The certificate itself goes to identity alone, and is covered by its fingerprint.
    assert [name for name, _ in sets] == [*VALUES, SIGNATURE, f"{PREFIX}Certificate"]
    assert '""' not in dict(sets).values()
    assert f"'{VERSION}'" in SCRIPT


def test_what_nginx_refuses_it_says_as_the_functions_do() -> None:
    assert MAX_BODY == 2**20
    assert "client_max_body_size 1m;" in said("functions.conf")
    assert f"at most {MAX_BODY} bytes" in SCRIPT
    assert UNEXPECTED in SCRIPT


def test_queries_are_nowhere_in_the_access_log() -> None:
    (line,) = re.findall(r"log_format line.*?;", said("nginx.conf"), re.DOTALL)
    assert not re.findall(
        r"\$(request|request_uri|args|query_string|http_referer|is_args|http_cookie|http_authorization)\b", line
    )


def test_no_location_adds_headers_of_its_own() -> None:
    """nginx would then leave out those of the server: HSTS and its like."""
    assert [p.name for p in GATEWAY.glob("*.conf") if "add_header" in said(p.name)] == ["security.conf"]
