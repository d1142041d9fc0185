"""How tests are shared out when several processes run them side by side: `pytest -n 2 --dist loadscope`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

DEPLOYMENTS = "deployments"
LIVES = "lives"

# Tests that start whole deployments follow one another, so that no two of them share the machine's cores; tests of
# one folder may share what is dear to make. The first that fits counts; all others of one file stay together.
_TOGETHER = (
    ("tests/journeys/security/", "security"),
    ("tests/journeys/lifecycle/test_ten_years", DEPLOYMENTS),
    ("tests/journeys/lifecycle/", LIVES),
    ("tests/journeys/previews/", LIVES),
    ("tests/journeys/", DEPLOYMENTS),
    ("tests/performance/", DEPLOYMENTS),
    ("tests/cases/test_lifecycle_cases", DEPLOYMENTS),
    ("tests/model/test_at_once", DEPLOYMENTS),
    ("tests/integration/operations/", DEPLOYMENTS),
    ("tests/integration/transport/", DEPLOYMENTS),
    ("tests/integration/metering/test_usage_topic", DEPLOYMENTS),
)
# What takes longest begins first.
_FIRST = (DEPLOYMENTS, "security", LIVES)


def group_of(nodeid: str) -> str:
    """The name of the group whose tests one process runs, in the order in which they were collected."""
    file = nodeid.split("::", 1)[0]
    return next((group for folder, group in _TOGETHER if file.startswith(folder)), file)


def by_rank(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Within a rank, the order stays."""
    ranks = {group: rank for rank, group in enumerate(_FIRST)}
    return sorted(items, key=lambda item: ranks.get(group_of(item.nodeid), len(_FIRST)))


class Groups(LoadScopeScheduling):
    """Whoever has little left to do is given the next group."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # by the number of tests: a group of few may take long

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
