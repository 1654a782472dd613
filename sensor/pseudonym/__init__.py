"""Pseudonyms of addresses and names, for what leaves the site."""
