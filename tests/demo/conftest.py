"""A forge with the sample repository, served from a thread of its own: PyGithub and git are synchronous."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from github.Repository import Repository

from demo import sample
from demo.forge import Forge
from tests.demo.forge_tools import clients, github


@pytest.fixture
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def forge(tmp_path: Path, portal: BlockingPortal) -> Iterator[Forge]:
    forge = Forge(tmp_path / "forge")
    portal.call(sample.plant, forge)
    portal.call(forge.start)
    yield forge
    while clients:
        clients.pop().close()
    portal.call(forge.stop)


@pytest.fixture
def token(forge: Forge) -> str:
    return forge.add_token("nightshift")


@pytest.fixture
def repo(forge: Forge, token: str) -> Repository:
    return github(forge, token).get_repo("acme/tidytime")
