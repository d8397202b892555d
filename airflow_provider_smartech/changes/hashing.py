"""Hashes of rows, and what protects them.

A plain hash of an e-mail address is still personal data, because it can be guessed. These hashes have secret seeds, and
leave the worker only encrypted. The seeds and the key are derived from the account's API key, which the upload store
does not hold.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import repeat
from typing import TypeAlias

import numpy as np
import xxhash
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

Hashes: TypeAlias = "NDArray[np.uint64]"

NONCE_BYTES = 12


class SyncSecret:
    """The secret of one sync.

    ``check`` tells whether two secrets are the same, and nothing else about them.

    :param api_key: the account's API key.
    :param sync: the sync's name.
    """

    def __init__(self, api_key: str, sync: str) -> None:
        info = f"airflow-provider-smartech only_changes {sync}".encode()
        material = HKDF(algorithm=SHA256(), length=56, salt=None, info=info).derive(api_key.encode())
        self.check = material[48:].hex()
        self._cipher = AESGCM(material[:32])
        self._seed_of_keys, self._seed_of_lines = (int.from_bytes(material[n : n + 8]) for n in (32, 40))

    def of_keys(self, keys: Sequence[bytes]) -> Hashes:
        """Return the hashes of primary keys."""
        return _hashed(keys, self._seed_of_keys)

    def of_lines(self, lines: Sequence[bytes]) -> Hashes:
        """Return the hashes of lines."""
        return _hashed(lines, self._seed_of_lines)

    def sealed(self, content: bytes, name: str) -> bytes:
        """Return the content encrypted, so that it can only be opened under this name."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, name.encode())

    def opened(self, content: bytes, name: str) -> bytes:
        """Return the content as it was before ``sealed``.

        :raises InvalidTag: it was sealed with another secret or name, or is damaged.
        """
        if len(content) < NONCE_BYTES:
            raise InvalidTag
        return self._cipher.decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], name.encode())


def _hashed(texts: Sequence[bytes], seed: int) -> Hashes:
    return np.fromiter(map(xxhash.xxh3_64_intdigest, texts, repeat(seed)), np.uint64, len(texts))
