"""Who may import whom, and what must not stand in the code at all."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = [
    path for folder in ("services", "libs", "deploy", "examples") for path in (ROOT / folder).rglob("*.py")
]
SERVICES = ("catalog", "subscriptions", "metering", "billing")

# Money, quantities and rates: where a float or a second rounding would cost a cent.
EXACT = [
    ROOT / "libs/common/money.py",
    ROOT / "libs/common/exact.py",
    *(ROOT / "libs/common/expression").glob("*.py"),
    *(path for service in SERVICES for path in (ROOT / "services" / service / "domain").rglob("*.py")),
]


def test_imports_follow_the_floor_plan() -> None:
    lint = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:]


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_floors(service: str) -> None:
    home = ROOT / "services" / service
    for part in (
        "README.md",
        "bootstrap.py",
        "domain",
        "application/ports.py",
        "application/events.py",
        "application/queries.py",
        "adapters/rows.py",
        "adapters/unit_of_work.py",
        "entrypoints/event_handlers.py",
        "migrations/env.py",
    ):
        assert (home / part).exists(), f"services/{service}/{part}"


def _nodes(path: Path) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", EXACT, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_float_division_or_rounding_near_money(path: Path) -> None:
    for node in _nodes(path):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            pytest.fail(f"line {node.lineno}: `/`")
        if isinstance(node, ast.Name) and node.id in ("float", "round"):
            pytest.fail(f"line {node.lineno}: {node.id}")
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            pytest.fail(f"line {node.lineno}: the float {node.value}")


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_now_comes_from_the_clock_alone(path: Path) -> None:
    if path.name == "clock.py":
        return
    for node in _nodes(path):
        if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
            owner = node.value
            name = (
                owner.id
                if isinstance(owner, ast.Name)
                else owner.attr
                if isinstance(owner, ast.Attribute)
                else ""
            )
            if name in ("datetime", "date"):
                pytest.fail(f"line {node.lineno}: {name}.{node.attr}")


def test_no_module_is_named_after_nothing() -> None:
    hidden = re.compile(r"^(utils?|helpers?|manager|data|misc|common_?)$")
    assert not [path for path in CODE if hidden.match(path.stem)]
