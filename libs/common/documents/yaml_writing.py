"""JSON values → YAML that says the same to every reader of YAML: text that looks like something else is quoted."""

from __future__ import annotations

from typing import Any

import yaml

WIDTH = 110


class _Dumper(yaml.SafeDumper):
    """Without anchors: what stands twice is written twice. Items of a list stand below what they belong to."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def yaml_text(value: Any) -> str:
    """In the order of the value. Numbers that are text stay text: `"3.20"` is never read as a float."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)
