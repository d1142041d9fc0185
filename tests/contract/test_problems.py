"""The registry of problems is what the modules of the services say, whichever of them a process has loaded."""

from __future__ import annotations

from deploy.contracts import problems, text_of
from libs.common.web.problem import REGISTRY


def test_the_stored_registry_is_what_the_code_says() -> None:
    assert REGISTRY.read_text(encoding="utf-8") == text_of(problems()), (
        "libs/common/web/problems.json differs: run `make contracts`, look at the diff"
    )


def test_every_code_is_one_classs_own() -> None:
    codes = [problem["code"] for problem in problems()]
    assert len(codes) == len(set(codes))
    assert "service_unavailable" in codes  # which no service answers, but the gateway does
