"""Where results go when they leave the sensor: an outbox over the store, one file per kind of sink.

Nothing here knows of frames or interfaces; a sink is opened only when the configuration names it, and
sends only to the address that stands there.
"""
