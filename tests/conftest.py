"""What several tests share."""

from __future__ import annotations

import pytest

from sites.anatomy import Maps, load_maps


@pytest.fixture(scope="session")
def maps() -> Maps:
    """The tissue maps; loading them takes seconds."""
    return load_maps()
