"""The daemon: sources, one judgement over all of them, a store that outlives faults, its own health."""
