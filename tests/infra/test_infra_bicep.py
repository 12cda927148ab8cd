"""The template passes its checks, and each check finds what it is for."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip(
    "tree_sitter_bicep", reason="pip install tree-sitter-bicep: the grammar that check_bicep.py parses with"
)

from nightshift.testing.emulators.deployed import INDEXED
from scripts import check_bicep
from scripts.bicepcheck import sources
from scripts.bicepcheck.sources import TypeSource
from tests.infra.conftest import ROOT

INFRA, DOCUMENT = ROOT / "infra", ROOT / "docs" / "azure.md"
WITHOUT_SOURCE = {"Microsoft.Insights/diagnosticSettings@2021-05-01-preview"}
"""Neither azmcp nor an SDK has its type; a clone of bicep-types-az has."""


@pytest.fixture(scope="module")
def types() -> list[TypeSource]:
    return sources.available()


def test_nothing_is_wrong(types: list[TypeSource]) -> None:
    result = check_bicep.check(INFRA, types, DOCUMENT)
    assert result.findings == []
    assert len(result.checked) + len(result.unchecked) > 35


def test_every_resource_has_a_published_type(types: list[TypeSource]) -> None:
    if not any(each.name == "azmcp" for each in types):
        pytest.skip("pip install msmcp-azure: types of most resources")
    pytest.importorskip(
        "azure.mgmt.monitor", reason="pip install azure-mgmt-monitor and the others of requirements-dev.txt"
    )
    assert check_bicep.check(INFRA, types, DOCUMENT).unchecked == WITHOUT_SOURCE


def test_the_store_is_deployed_as_the_code_wants_it() -> None:
    text = (INFRA / "modules" / "cosmos.bicep").read_text()
    assert re.findall(r"path: '(/\w+/\?)'", text) == INDEXED
    assert "excludedPaths: [{ path: '/*' }]" in text
    assert re.search(r"partitionKey: \{\s+kind: 'Hash'\s+version: 2\s+paths: \['/pk'\]", text)
    assert "defaultConsistencyLevel: 'BoundedStaleness'" in text, "Session would hide a message from its bell"
    assert "enableMultipleWriteLocations: false" in text


def test_sign_in_lets_everybody_through_and_keeps_off_workers_alone() -> None:
    text = (INFRA / "modules" / "sign-in.bicep").read_text()
    assert "requireAuthentication: false" in text
    assert "unauthenticatedClientAction: 'AllowAnonymous'" in text
    assert re.findall(r"excludedPaths: (.*)", text) == ["['/api/worker/*']"]
    script = (ROOT / "scripts" / "azure" / "sign_in.sh").read_text()
    assert '"requestedAccessTokenVersion": 2' in script
    assert {role for role in re.findall(r'"value": "(\w+)"', script)} >= {"user", "admin"}


TYPE_MISTAKES = {
    "a property that is not there": (
        "modules/vault.bicep",
        "enableSoftDelete:",
        "enableSoftDeletion:",
        "is not a property",
    ),
    "another case": ("modules/vault.bicep", "tenantId: tenant", "tenantID: tenant", "'tenantId' is"),
    "a value that is not one": ("modules/cosmos.bicep", "'BoundedStaleness'", "'Bounded'", "not one of"),
    "a value in another case": ("modules/cosmos.bicep", "type: 'Continuous'", "type: 'continuous'", "must be one of"),
    "a text for a number": (
        "modules/network.bicep",
        "idleTimeoutInMinutes: 10",
        "idleTimeoutInMinutes: '10'",
        "should be int",
    ),
    "a required property": ("modules/budget.bicep", "    amount: amount\n", "", "lacks 'amount'"),
    "one that is read-only": ("modules/pubsub.bicep", "    disableAadAuth: false", "    hostName: 'x'", "read-only"),
    "in a variable": (
        "modules/network.bicep",
        "priority: 4096\n    direction: 'Inbound'",
        "direction: 'inbound'",
        "is 'inbound', not one of",
    ),
    "in a loop": ("modules/alerts.bicep", "kind: 'LogAlert'", "sort: 'LogAlert'", "is not a property"),
    "of the scheduler": ("modules/scheduler.bicep", "ipAllowlist:", "ipAllowList:", "'ipAllowlist' is"),
    "of the image": ("modules/image.bicep", "scheme: 'Latest'", "scheme: 'Newest'", "must be one of"),
    "an output of a resource": (
        "modules/scheduler.bicep",
        "scheduler.properties.endpoint",
        "scheduler.properties.url",
        "has no 'url'",
    ),
}
"""What only the published types tell."""

OTHER_MISTAKES = {
    "syntax": ("modules/vault.bicep", "resource access '", "resource access ", "syntax"),
    "an unknown name": (
        "modules/vault.bicep",
        "principalId: reader",
        "principalId: readers",
        "'readers' means nothing",
    ),
    "an unknown function": ("modules/vault.bicep", "guid(vault.id", "uuid(vault.id", "no function 'uuid'"),
    "an unused parameter": (
        "modules/machines.bicep",
        "param operator string",
        "param operator string\nparam more string",
        "never used",
    ),
    "a parameter too many": ("main.bicep", "operatorRoleId: roles", "role: roles", "has no parameter 'role'"),
    "a parameter too few": ("main.bicep", "    units: size.pubSubUnits\n", "", "needs the parameter 'units'"),
    "an output that is not there": ("main.bicep", "vault.outputs.name", "vault.outputs.title", "has no output 'title'"),
    "a part of an output": (
        "main.bicep",
        "identities.outputs.builder.id",
        "identities.outputs.builder.ident",
        "has no 'ident'",
    ),
    "a module that is not there": ("main.bicep", "'modules/zones.bicep'", "'modules/zone.bicep'", "no module"),
    "a file that is not there": ("modules/image.bicep", "../image/install.sh", "../image/setup.sh", "there is no file"),
    "a parameter file": ("main.bicepparam", "param taskHub", "param hub", "has no parameter 'hub'"),
    "a size that is missing": ("environments/prod.json", '  "pubSubUnits": 1,\n', "", "'pubSubUnits' is missing"),
    "a size of another kind": ("environments/prod.json", '"alwaysReady": 2', '"alwaysReady": "2"', "should be int"),
    "a key in an output": (
        "modules/storage.bicep",
        "output name string = account.name",
        "output name string = account.listKeys().keys[0].value",
        "gives away a secret",
    ),
    "a secret parameter in an output": (
        "modules/monitoring.bicep",
        "output insightsName string = insights.name",
        "output insightsName string = webhook",
        "gives away a secret",
    ),
    "a secret with a default": (
        "main.bicep",
        "param alertWebhook string = ''",
        "param alertWebhook string = 'https://x'",
        "has a default",
    ),
    "a secret that is not secure": ("modules/monitoring.bicep", "@secure()\n", "", "not @secure()"),
    "a role nobody told of": ("modules/vault.bicep", "resource access ", "resource rights ", "is not in the table"),
    "a setting nobody reads": ("main.bicep", "NIGHTSHIFT_VM_SPOT:", "NIGHTSHIFT_VM_SPOTS:", "nothing reads"),
    "an alert nobody explains": (
        "modules/alerts.bicep",
        "name: 'app-down'",
        "name: 'app-gone'",
        "only in the template",
    ),
    "another hub": ("main.bicep", "var hubName = 'nightshift'", "var hubName = 'hub'", "is not 'nightshift'"),
}


@pytest.mark.parametrize("mistake", [*TYPE_MISTAKES, *OTHER_MISTAKES])
def test_a_mistake_is_found(mistake: str, types: list[TypeSource], tmp_path: Path) -> None:
    file, old, new, message = (TYPE_MISTAKES | OTHER_MISTAKES)[mistake]
    infra = tmp_path / "infra"
    shutil.copytree(INFRA, infra)
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    text = (infra / file).read_text()
    assert text.count(old) >= 1, f"the test's own mistake: '{old}' is not in {file}"
    (infra / file).write_text(text.replace(old, new, 1))

    result = check_bicep.check(infra, types, DOCUMENT)

    found = [each for each in result.findings if message in each]
    if not found and mistake in TYPE_MISTAKES and result.unchecked - WITHOUT_SOURCE:
        pytest.skip("no type of this resource was to be had")
    assert found, result.findings


def test_a_role_that_is_told_but_not_assigned_is_found(types: list[TypeSource], tmp_path: Path) -> None:
    document = tmp_path / "azure.md"
    document.write_text(
        DOCUMENT.read_text().replace(
            "| `vault.bicep` `access` |", "| `vault.bicep` `access` |\n| `vault.bicep` `gone` |"
        )
    )
    findings = check_bicep.check(INFRA, [], document).findings
    assert any("'vault.bicep gone'" in each for each in findings)


def test_a_setting_that_is_neither_set_nor_told_is_found(tmp_path: Path) -> None:
    document = tmp_path / "azure.md"
    document.write_text(DOCUMENT.read_text().replace("`NIGHTSHIFT_MAX_STEPS`, ", ""))
    findings = check_bicep.check(INFRA, [], document).findings
    assert any("NIGHTSHIFT_MAX_STEPS" in each for each in findings)


@pytest.mark.parametrize("tier", ["dev", "staging", "prod"])
def test_subnets_fit_their_network_and_do_not_overlap(tier: str) -> None:
    sizes = json.loads((INFRA / "environments" / f"{tier}.json").read_text())
    addresses = {name: ipaddress.ip_network(text) for name, text in sizes["addresses"].items()}
    network = addresses.pop("network")
    assert addresses.keys() == {"machines", "app", "appEndpoints", "machineEndpoints"}
    for name, each in addresses.items():
        assert each.subnet_of(network), name  # type: ignore[arg-type]
        assert not any(each.overlaps(other) for other_name, other in addresses.items() if other_name != name)
    assert addresses["app"].prefixlen <= 27  # Flex Consumption asks for so much
    assert sizes["model"] in {each["name"] for each in sizes["models"]}
    assert not sizes["zoneRedundant"] or sizes["alwaysReady"] >= 2


def test_machines_may_be_called_by_nobody_and_reach_no_data() -> None:
    rules = (INFRA / "modules" / "network.bicep").read_text()
    machines = rules[rules.index("resource machinesRules") : rules.index("resource appRules")]
    assert "direction: 'Inbound'" not in machines, "only denyInbound"
    assert "denyInbound" in machines
    allowed = re.findall(
        r"access: 'Allow'.*?destinationAddressPrefix: (\S+)\s+destinationPortRanges?: (.+?)\n", machines, re.DOTALL
    )
    assert allowed == [("addresses.machineEndpoints", "'443'"), ("'Internet'", "['22', '80', '443']")]


def test_the_machines_identity_has_no_right_in_the_resource_manager() -> None:
    main = (INFRA / "main.bicep").read_text()
    users = [line.strip() for line in main.splitlines() if "machine.principalId" in line]
    assert users == [
        "publishers: [identities.outputs.app.principalId, identities.outputs.machine.principalId]",
        "containerReaders: [identities.outputs.machine.principalId]",
        "user: identities.outputs.machine.principalId",
    ]


def test_the_operators_role_has_only_what_the_adapter_uses() -> None:
    roles = (INFRA / "modules" / "roles.bicep").read_text()
    assert "*" not in re.sub(r"//.*", "", roles), "no wildcard"
    operator = roles[roles.index("resource machineOperator") : roles.index("resource machinePartsUser")]
    assert len(re.findall(r"'Microsoft\.\S+'", operator)) == 1 + 13
