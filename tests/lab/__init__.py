"""The lab: frame builders for every test, and the script that records the bundled captures."""
