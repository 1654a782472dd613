"""A network of two namespaces for the tests of live capture."""
