"""Station description (IEC 61850-6, SCL): read with care, and turned into engineered entries of a baseline."""
