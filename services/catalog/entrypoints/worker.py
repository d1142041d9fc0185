"""`python -m services.catalog.entrypoints.worker`: the workers of catalog as a process of their own."""

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # until everything is built: nothing of it is garbage, and looking takes its time

from libs.common.serving.process import run_worker
from services.catalog.bootstrap import build

if __name__ == "__main__":
    sys.exit(run_worker("catalog", build))
