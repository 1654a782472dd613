"""What an alert means, in the words of the trade and in the reader's language.

The texts are data: ``rules.toml`` says which family each rule belongs to and which fields of a frame decide,
and one folder per language (``en``, ``zh_CN``) holds every sentence under the same keys. Tests check that no
rule is without an entry and that the languages agree key by key and placeholder by placeholder.
"""
