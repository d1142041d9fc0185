"""Where the command line finds the deployment, and the key file that it signs with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from libs.common.settings import Settings, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class CliSettings(Settings):
    """`url` is the one origin. `token` replaces the one that is signed with the key file."""

    PREFIX: ClassVar[str] = "PERENNIAL_"

    url: str = setting("http://127.0.0.1:8000")
    token: str = setting("")
    var_folder: Path = setting(Path("var"))

    @property
    def key_path(self) -> Path:
        return self.var_folder / "keys.json"

    @property
    def sandbox_token_path(self) -> Path:
        """What `make run` wrote down."""
        return self.var_folder / "sandbox-token"


def settings() -> CliSettings:
    return CliSettings.from_environment(os.environ)
