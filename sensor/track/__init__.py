"""State that lives between packets; every table is bounded."""
