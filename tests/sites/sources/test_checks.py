"""Warnings are silenced for as long as any thread reads, and no longer."""

from __future__ import annotations

import logging
import threading
import warnings

from sites.sources.checks import quiet


def test_threads_that_read_at_once_leave_warnings_as_they_were() -> None:
    log = logging.getLogger("pydicom")
    level, filters = log.level, [*warnings.filters]
    first, second = threading.Event(), threading.Event()

    def other() -> None:
        with quiet():
            first.set()
            assert second.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert first.wait(10)
    with quiet():
        second.set()
        thread.join()
        assert log.level == logging.CRITICAL
        assert warnings.filters[0][0] == "ignore"
    assert (log.level, [*warnings.filters]) == (level, filters)
