"""The parts of the image that can be tried without one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT

IMAGE = ROOT / "infra" / "image"
UNITS = sorted((IMAGE / "files").glob("nightshift-*.service"))


def test_the_recipe_has_every_file() -> None:
    """A file that is not in it would neither be on the machine nor change the recipe's name."""
    module = (ROOT / "infra" / "modules" / "image.bicep").read_text()
    named = set(re.findall(r"loadFileAsBase64\('\.\./image/([^']+)'\)", module))
    assert named == {str(path.relative_to(IMAGE)) for path in IMAGE.rglob("*") if path.is_file()}
    install = (IMAGE / "install.sh").read_text()
    for path in (IMAGE / "files").iterdir():
        assert f'"$from/{path.name}"' in install


def test_nothing_is_piped_from_the_network_to_a_shell_and_versions_are_pinned() -> None:
    install = re.sub(r"#.*", "", (IMAGE / "install.sh").read_text())
    assert not re.search(r"(curl|wget)[^\n]*\|\s*(sudo\s+)?(ba)?sh", install)
    assert "--require-hashes" in install
    assert re.search(r"^UV_HASH=sha256:[0-9a-f]{64}$", install, re.MULTILINE)
    assert re.search(r"^PLAYWRIGHT=\d+\.\d+\.\d+$", install, re.MULTILINE)
    keys = re.findall(r"^key (\w+) https://\S+(?: \\\n)? +([0-9A-F ]+)$", install, re.MULTILINE)
    assert [name for name, _ in keys] == ["docker", "nodesource", "github"]
    assert all(re.fullmatch(r"[0-9A-F]{40}", each) for _, fingerprints in keys for each in fingerprints.split())


def test_no_secret_and_no_name_of_an_environment_is_in_the_image() -> None:
    for path in IMAGE.rglob("*"):
        if path.is_file():
            assert not re.search(r"windows\.net|azurewebsites|ghp_|/subscriptions/", path.read_text()), path


def test_users_of_the_unit_the_firewall_and_the_recipe_are_the_same() -> None:
    install = (IMAGE / "install.sh").read_text()
    (worker,) = re.findall(r"useradd --system --uid (\d+) .* nightshift$", install, re.MULTILINE)
    (agent,) = re.findall(r"useradd --uid (\d+) .* agent$", install, re.MULTILINE)
    firewall = (IMAGE / "files" / "firewall.nft").read_text()
    assert f"skuid != {{ 0, {worker} }}" in firewall
    assert f"skuid {agent} " in firewall
    assert f"/run/user/{agent}/docker.sock" in install
    unit = (IMAGE / "files" / "nightshift-worker.service").read_text()
    assert "User=nightshift" in unit
    assert "NIGHTSHIFT_TOOL_USER=agent" in unit
    assert "Requires=nightshift-firewall.service" in unit


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_pass_systemds_own_check(unit: Path) -> None:
    result = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    complaints = [
        line
        for line in result.stderr.splitlines()
        if unit.name in line
        # Of systemd 254, which Ubuntu 24.04 has; and programs that are on the machine, not here.
        and not re.search(r"RestartSteps|RestartMaxDelaySec|is not executable|nightshift-\w+\.service not found", line)
    ]
    assert complaints == []


@pytest.mark.skipif(not shutil.which("nft"), reason="no nft here: apt-get install nftables")
def test_the_firewall_is_understood() -> None:
    rules = IMAGE / "files" / "firewall.nft"
    result = subprocess.run(["nft", "-c", "-f", rules], capture_output=True, text=True, check=False)
    if "Operation not permitted" in result.stderr:
        pytest.skip("nft wants rights that this user has not")
    assert result.returncode == 0, result.stderr


_TRY = """
import encodings.idna, os, socket  # the first before rights are given up

def reaches(user, address):
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        try:
            socket.create_connection((address, 80), timeout=5)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

listening = [socket.create_server((address, 80)) for address in ("169.254.169.254", "168.63.129.16")]
for server in listening:
    address = server.getsockname()[0]
    print(address, *(user for user in (0, 801, 1001, 65534, 165536) if reaches(user, address)))
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "unshare", "ip"))), reason="wants root, nft, unshare and ip"
)
def test_the_firewall_holds() -> None:
    """In a network of its own, where the platform's addresses are ours: who gets through to them?"""
    rules = IMAGE / "files" / "firewall.nft"
    script = (
        "ip link set lo up && ip addr add 169.254.169.254/32 dev lo && ip addr add 168.63.129.16/32 dev lo"
        f' && nft -f {rules} && nft -f {rules} && exec "$0" -c "$1"'
    )
    command = ["unshare", "--net", "bash", "-c", script, sys.executable, _TRY]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "Operation not permitted" in result.stderr:
        pytest.skip("no network of its own to be had here")
    assert result.stdout.splitlines() == ["169.254.169.254 0 801", "168.63.129.16 0 801 65534"], result.stderr
