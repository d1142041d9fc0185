"""`python -m services.billing.entrypoints.api`: the app of billing as a process of its own."""

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # until everything is built: nothing of it is garbage, and looking takes its time

from libs.common.serving.process import run_api
from services.billing.bootstrap import build

if __name__ == "__main__":
    sys.exit(run_api("billing", build))
