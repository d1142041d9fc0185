"""How tests are shared out when several processes run them side by side: `pytest -n 3 --dist loadscope`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

DEPLOYMENTS = "deployments"
SECURITY = "security"
BUSES = "buses"
SERVED = "served"
LIVES = "lives"
PAGES = "pages"
AT_ONCE = "tests/model/test_at_once.py"
TAKES_LONG = (
    "tests/model/test_subscription_life.py",
    "tests/integration/billing/test_gateway_faults.py",
    "tests/unit/common/test_periods_in_every_zone.py",
)

# Tests that start whole deployments follow one another, so that no two of them share the machine's cores. Those of
# the buses wait most of their time, for what is down and comes back: others run meanwhile. Tests that talk to one
# server, or look at what is dear to make, share it. The first that fits counts; all others of one file stay together.
_TOGETHER = (
    ("tests/contract/", "contract"),
    ("tests/journeys/security/", SECURITY),
    ("tests/journeys/lifecycle/test_ten_years", SERVED),
    ("tests/journeys/offerings/", SERVED),
    ("tests/journeys/clients/", SERVED),
    ("tests/journeys/proofs/", SERVED),
    ("tests/journeys/books/", PAGES),
    ("tests/journeys/pages/", PAGES),
    ("tests/cases/test_lifecycle_cases", SERVED),
    ("tests/cases/test_aggregation_cases", SERVED),
    ("tests/journeys/lifecycle/", LIVES),
    ("tests/journeys/previews/", LIVES),
    ("tests/journeys/", DEPLOYMENTS),
    ("tests/performance/", DEPLOYMENTS),
    ("tests/integration/operations/", DEPLOYMENTS),
    ("tests/integration/transport/", BUSES),
    ("tests/integration/metering/test_usage_topic", BUSES),
    ("tests/integration/common/test_embedded_postgres", BUSES),
)
# What takes longest begins first.
_FIRST = (DEPLOYMENTS, SECURITY, BUSES, SERVED, LIVES, PAGES, AT_ONCE, *TAKES_LONG)


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
