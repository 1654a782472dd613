"""Capture, decode, observe, warn, store, forward; the daemon and the command line."""

import os

# Before numpy is loaded: huge pages would make every table resident as a whole, used or not.
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")

__version__ = "0.1.0"
