from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from api.app import create_api
from nightshift.services import Services, build
from nightshift.settings import Settings
from tests.api.house import Bells, Hints, House, NoMachines, client
from tests.api.issuer import Issuer, issuer


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """In local mode: the client is `local`, an admin, as long as it sends no key."""
    database = tmp_path / "nightshift.db"
    hints, bells = Hints(), Bells()
    settings = Settings(data_dir=tmp_path, local=True, signing_key="k" * 64, github_token="ghp_secret")
    services = replace(build(settings), machines=NoMachines(), live=hints)
    app = create_api(lambda: services)
    async with client(app, bells) as http:
        yield House(services, app, bells, hints, http, database)
    await services.close()


@pytest.fixture
async def cloud(house: House) -> House:
    """The same house where nobody is trusted without a key."""
    return moved(house, house.services)


@pytest.fixture
def tenant() -> Iterator[Issuer]:
    with issuer() as made:
        yield made


@pytest.fixture
async def azure(house: House, tenant: Issuer) -> House:
    """The same house on App Service: people come by its sign-in, programs of the tenant with access tokens."""
    settings = replace(house.services.settings, sign_in=True, entra=tenant.entra)
    return moved(house, replace(house.services, settings=settings, access_tokens=tenant.access_tokens()))


def moved(house: House, services: Services) -> House:
    """From this machine to a name of its own."""
    url = "https://nightshift.example"
    services = replace(services, settings=replace(services.settings, local=False, public_url=url))
    app = create_api(lambda: services)
    return replace(house, services=services, app=app, http=client(app, house.bells, url))
