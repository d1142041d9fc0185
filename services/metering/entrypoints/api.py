"""`python -m services.metering.entrypoints.api`: the app of metering as a process of its own."""

import sys

from libs.common.serving.process import run_api
from services.metering.bootstrap import build

if __name__ == "__main__":
    sys.exit(run_api("metering", build))
