"""Which rows of a query have changed since the last sync, found with 16 bytes a row and constant memory.

================= ======================================================
``csv_rows``      the lines of a piece of CSV, and the key of each
``hashing``       hashes of keys and lines, and what protects them
``sorted_rows``   sorts any number of hashes, on this worker's disk
``snapshot``      the hashes of one sync, as they are stored
``known_rows``    the hashes of the last sync, to look rows up in
``comparison``    passes on only the rows that have changed
================= ======================================================

It needs the extra ``[changes]``: numpy and xxhash.
"""
