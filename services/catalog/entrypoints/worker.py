"""`python -m services.catalog.entrypoints.worker`: the workers of catalog as a process of their own."""

import sys

from libs.common.serving.process import run_worker
from services.catalog.bootstrap import build

if __name__ == "__main__":
    sys.exit(run_worker("catalog", build))
