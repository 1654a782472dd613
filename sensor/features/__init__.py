"""Window features per conversation."""
