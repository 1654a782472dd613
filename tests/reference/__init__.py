"""Slow, readable twins of the compiled decoders, written from the standards.

They share no code with ``sensor``: ``struct`` and ``int.from_bytes`` instead of kernels, dictionaries instead
of bounded tables, text instead of numbers for endpoints and conversations. What a twin and a kernel
disagree on is a bug in one of them, and the standard says in which.

``rows``      what a message and a point are, and the reading of native arrays into the same form
``network``   IEEE 802.3/802.1Q, RFC 791, RFC 8200, RFC 768
``streams``   RFC 9293: connections, order, PDUs over segments
``modbus``    MODBUS Application Protocol V1.1b3
``iec104``    IEC 60870-5-104 and -101
``goose``     IEC 61850-8-1 and ITU-T X.690
``decoder``   all of them behind one call per frame
"""
