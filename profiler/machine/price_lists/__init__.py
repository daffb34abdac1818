"""Price lists as clouds publish them, read from a file on disk, however long it is, in bounded memory.

``reading`` recognises the cloud of a file and reads it, rows of CSV one by one; ``aws``, ``gcp`` and ``azure`` know the
layouts; ``json_stream`` reads long JSON piece by piece. Nothing here uses the network. Prices are kept by ``prices``.
"""
