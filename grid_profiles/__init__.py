"""Protocol knowledge as data: one TOML file per protocol."""
