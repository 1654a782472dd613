"""Evidence bundles: the frames around an alert with all that is needed to judge it again, years later."""
