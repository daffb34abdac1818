"""Price lists as clouds publish them, read from a file on disk, however long it is, in bounded memory.

``reading`` finds out whose list a file is and reads it; ``aws``, ``gcp`` and ``azure`` know the layouts;
``json_stream`` and ``csv_rows`` read long files piece by piece. Nothing here uses the network. Prices are kept by
``prices``.
"""
