"""Station descriptions (IEC 61850-6, SCL): read with care, turned into engineered entries of a baseline."""
