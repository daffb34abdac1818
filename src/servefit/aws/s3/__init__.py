"""The part of S3 that notebooks use, on plain files: a bucket is a folder of the root, and a key a path in it.

``places`` says which file a key is, ``objects`` reads and writes whole objects with their ``metadata``, ``uploads``
those that come in parts, ``listing`` lists them, ``bodies`` receives what is sent and holds it against its
``checksums``, and ``service`` speaks HTTP.
"""
