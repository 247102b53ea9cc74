"""What the engine's tests share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny networks are slower on several threads, and much slower on a busy machine."""
    torch.set_num_threads(1)
