"""A resource manager on this machine, and the machines adapter on it.

Without more, requests and answers are checked against the models of the SDK. With NIGHTSHIFT_AZURE_OPENAPI naming a
checkout of github.com/Azure/azure-rest-api-specs, against the published documents as well.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nightshift.machines.azure import AzureMachines
from nightshift.testing.arm import GROUP, Arm
from nightshift.testing.cloud import Cloud
from nightshift.testing.contract import Contract, Exchange
from nightshift.testing.openapi import OpenApi
from nightshift.testing.sdk_models import SdkModels
from tests.machines.caller import Clock

OPENAPI = os.environ.get("NIGHTSHIFT_AZURE_OPENAPI", "")


class Both:
    def __init__(self, *contracts: Contract) -> None:
        self._contracts = contracts

    def request(self, it: Exchange) -> Iterator[str]:
        for contract in self._contracts:
            yield from contract.request(it)

    def answer(self, it: Exchange) -> Iterator[str]:
        for contract in self._contracts:
            yield from contract.answer(it)


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Both(SdkModels(), OpenApi(Path(OPENAPI))) if OPENAPI else SdkModels()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def arm(contract: Contract, clock: Clock) -> AsyncIterator[Arm]:
    """Operations take three seconds of a clock that moves when a caller waits."""
    arm = Arm(Cloud(GROUP, now=clock, latency=3), contract)
    await arm.start()
    yield arm
    await arm.stop()
    assert arm.problems == []


@pytest.fixture
async def machines(arm: Arm) -> AsyncIterator[AzureMachines]:
    async with arm.client() as client:
        yield AzureMachines(arm.settings(), client)
