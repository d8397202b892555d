"""A task's life in all its histories: the real code and the real sandbox, driven by hypothesis.

============== ==========================================================================
``files``      object storage in memory that refuses, or kills who uses it, at the n-th call
``pingbacks``  what Smartech may call back with, and what that says of an upload
``world``      the real parts, and one try of a task in them
``machine``    the steps of a history
``promises``   what must hold after every step
============== ==========================================================================

``make simulate`` runs many histories with a new seed; ``tests/test_histories.py`` a few with a fixed one.
"""
