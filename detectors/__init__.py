"""Baselines, detectors, calibration and explanation: functions over batches, no I/O of their own."""
