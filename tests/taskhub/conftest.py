from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.taskhub.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path / "hub.db") as rig:
        yield rig
