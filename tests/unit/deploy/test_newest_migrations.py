"""A start asks the names of the files which version of the tables is the newest; Alembic must say the same."""

from __future__ import annotations

import pytest
from alembic.script import ScriptDirectory

from libs.common.contracts import SERVICES
from libs.common.persistence.migrate import ROOT, newest_version


@pytest.mark.parametrize("service", SERVICES)
def test_the_last_file_is_the_head(service: str) -> None:
    script = ScriptDirectory(str(ROOT / "services" / service / "migrations"))
    assert script.get_heads() == [newest_version(service)]
