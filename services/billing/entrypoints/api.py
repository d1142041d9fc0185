"""`python -m services.billing.entrypoints.api`: the app of billing as a process of its own."""

import sys

from libs.common.serving.process import run_api
from services.billing.bootstrap import build

if __name__ == "__main__":
    sys.exit(run_api("billing", build))
