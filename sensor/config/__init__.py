"""The configuration of `gridwarden run`: one TOML file, checked as a whole."""
