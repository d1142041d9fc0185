"""`python -m services.billing.entrypoints.worker`: the workers of billing as a process of their own."""

import sys

from libs.common.serving.process import run_worker
from services.billing.bootstrap import build

if __name__ == "__main__":
    sys.exit(run_worker("billing", build))
