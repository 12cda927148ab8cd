"""The hooks, against tools that write down how they are called. No test reaches Azure."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess

import pytest

from tests.infra.conftest import ROOT, Tools

SCRIPTS = sorted((ROOT / "scripts" / "azure").glob("*.sh")) + sorted((ROOT / "infra" / "image").glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script: os.PathLike[str]) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-x", "-P", ROOT, script], check=True, cwd=ROOT)


def test_azd_runs_scripts_that_are_there() -> None:
    named = re.findall(r"run: (scripts/\S+)", (ROOT / "azure.yaml").read_text())
    assert named == [f"scripts/azure/{name}.sh" for name in ("preprovision", "postprovision", "postdeploy")]
    for each in named:
        assert (ROOT / each).stat().st_mode & stat.S_IXUSR


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"AZURE_SUBSCRIPTION_ID": "other"}, "az works in subscription sub"),
        ({"AZURE_ENV_NAME": "Dev_1"}, "does not fit"),
        ({"NIGHTSHIFT_TIER": "huge"}, "no tier 'huge'"),
        ({"NIGHTSHIFT_TIER": "prod"}, "with the sizes of 'prod'"),
        ({"AZURE_ENV_NAME": "prod"}, "with the sizes of 'dev'"),
        ({"AZURE_ENV_NAME": "prod", "NIGHTSHIFT_TIER": "prod"}, "this changes production"),
    ],
)
def test_guards_refuse(tools: Tools, environment: dict[str, str], message: str) -> None:
    result = tools.run("preprovision.sh", **environment)
    assert result.returncode == 1
    assert message in result.stderr
    assert not any(call.startswith(("azd", "az provider register")) for call in tools.calls())


def test_guards_let_pass(tools: Tools) -> None:
    assert tools.run("preprovision.sh").returncode == 0
    said = tools.run("preprovision.sh", AZURE_ENV_NAME="prod", NIGHTSHIFT_TIER="prod", NIGHTSHIFT_CONFIRM="prod")
    assert said.returncode == 0, said.stderr


def test_names_of_deleted_resources_are_told(tools: Tools) -> None:
    tools.answer("az keyvault list-deleted", "kv-old")
    result = tools.run("preprovision.sh")
    assert result.returncode == 1
    assert "kv-old" in result.stderr
    assert "--purge-only" in result.stderr


def test_the_budget_begins_once(tools: Tools) -> None:
    tools.run("preprovision.sh", NIGHTSHIFT_BUDGET_START="")
    assert any(re.fullmatch(r"azd env set NIGHTSHIFT_BUDGET_START 20\d\d-\d\d-01", call) for call in tools.calls())


def test_secrets_are_made_where_none_are_and_never_on_a_command_line(tools: Tools) -> None:
    tools.answer("az rest --only-show-errors --method get", "", 3)
    result = tools.run("secrets.sh", GITHUB_TOKEN="ghp_secret")
    assert result.returncode == 0, result.stderr
    bodies = [json.loads(line) for line in (tools.folder / "bodies").read_text().splitlines() if line]
    signing_key, token = (each["properties"]["value"] for each in bodies)
    assert re.fullmatch(r"[0-9a-f]{64}", signing_key)
    assert token == "ghp_secret"
    everything = " ".join(tools.calls()) + result.stdout + result.stderr
    assert signing_key not in everything
    assert token not in everything


def test_secrets_that_are_there_stay(tools: Tools) -> None:
    assert tools.run("secrets.sh").returncode == 0
    assert not any("--method put" in call for call in tools.calls())


def test_a_missing_token_is_told(tools: Tools) -> None:
    tools.answer("az rest --only-show-errors --method get", "", 3)
    result = tools.run("secrets.sh")
    assert result.returncode == 1
    assert "nothing to put into github-token" in result.stderr


@pytest.mark.parametrize("upload", [0, 1])
def test_the_door_of_the_workers_account_is_closed_whatever_happens(tools: Tools, upload: int) -> None:
    tools.answer("az storage blob exists", "false")
    tools.answer("az storage blob upload", "", upload)
    result = tools.run("upload_worker.sh")
    assert result.returncode == upload
    doors = [call for call in tools.calls() if "storage account" in call]
    assert "--public-network-access Enabled --default-action Deny" in doors[0]
    assert "network-rule add" in doors[1]
    assert "--ip-address 203.0.113.7" in doors[1]
    assert "--public-network-access Disabled" in doors[-1]


def test_the_same_source_is_not_uploaded_again(tools: Tools) -> None:
    tools.answer("az storage blob exists", "false")
    tools.run("upload_worker.sh", NIGHTSHIFT_UPLOAD="inside")
    (digest,) = re.findall(r"sha256=([0-9a-f]{64})", " ".join(tools.calls()))
    tools.answer("az storage blob exists", "true")
    tools.answer("az storage blob show", digest)
    before = len(tools.calls())
    result = tools.run("upload_worker.sh", NIGHTSHIFT_UPLOAD="inside")
    assert result.returncode == 0
    assert not any("blob upload" in call or "storage account" in call for call in tools.calls()[before:])


def test_an_image_that_is_there_is_not_built_again(tools: Tools) -> None:
    tools.answer("az sig image-version list", "1.0.3")
    tools.answer("az resource list", "worker-old")
    assert tools.run("image.sh").returncode == 0
    assert not any("/run?" in call for call in tools.calls())
    assert any("--method delete" in call and "worker-old" in call for call in tools.calls())


def test_an_image_is_built_and_a_failure_told(tools: Tools) -> None:
    tools.answer("az rest --only-show-errors --method get", "Failed")
    result = tools.run("image.sh", "--wait")
    assert result.returncode == 1
    assert any("/imageTemplates/worker-abc/run?" in call for call in tools.calls())
    assert not any("--method delete" in call for call in tools.calls()), (
        "older templates stay until the new one is built"
    )


def test_teardown_wants_the_name(tools: Tools) -> None:
    assert tools.run("teardown.sh").returncode != 0
    assert tools.run("teardown.sh", NIGHTSHIFT_CONFIRM="staging").returncode != 0
    assert not any("delete" in call for call in tools.calls())


def test_teardown_takes_machines_first_and_purges(tools: Tools) -> None:
    tools.answer("az group exists", "true")
    tools.answer("az keyvault list-deleted", "kv-1\tswedencentral")
    tools.answer(
        "az cognitiveservices account list-deleted",
        "oai-1\tswedencentral\t/subscriptions/s/providers/p/locations/l/resourceGroups/rg-1/deletedAccounts/oai-1",
    )
    tools.answer("az role definition list", "role-1")
    result = tools.run("teardown.sh", NIGHTSHIFT_CONFIRM="dev")
    assert result.returncode == 0, result.stderr
    calls = tools.calls()
    deleted = [call.split()[4] for call in calls if call.startswith("az group delete")]
    assert deleted == ["rg-nightshift-dev-machines", "rg-nightshift-dev"]
    assert "az keyvault purge --name kv-1 --location swedencentral" in calls
    assert "az cognitiveservices account purge --name oai-1 --location swedencentral --resource-group rg-1" in calls
    assert any(call.startswith("az role definition delete --name role-1") for call in calls)
