"""``python -m sensor`` is ``gridwarden``."""

from sensor.cli import main

if __name__ == "__main__":
    main()
