"""Attack patterns, one module per protocol; a function registered with ``attack`` is one pattern."""
