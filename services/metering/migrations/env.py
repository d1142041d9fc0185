"""Alembic's way into metering's tables."""

from libs.common.persistence.migrate import run_environment
from services.metering.adapters.rows import metadata

run_environment(metadata)
