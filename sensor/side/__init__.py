"""tshark beside a live capture: a process of its own, bounded, whose end harms nothing."""
