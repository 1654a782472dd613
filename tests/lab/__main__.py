"""``python -m tests.lab record --out DIR``."""

from tests.lab.record import main

main()
