"""Hashes of rows: they tell rows apart, and tell nobody without the API key anything else."""

from __future__ import annotations

import pytest
import xxhash
from cryptography.exceptions import InvalidTag

from airflow_provider_smartech.changes.hashing import SyncSecret

EMAILS = [b"ann@example.com", b"bob@example.com", b"ann@example.com"]


@pytest.fixture
def secret() -> SyncSecret:
    return SyncSecret("k3y", "nightly")


def test_the_same_text_has_the_same_hash_and_another_text_another_one(secret: SyncSecret) -> None:
    keys, again = secret.of_keys(EMAILS), SyncSecret("k3y", "nightly").of_keys(EMAILS)
    assert keys.tolist() == again.tolist()
    assert keys[0] == keys[2] != keys[1]
    assert secret.of_lines(EMAILS).tolist() != keys.tolist()
    assert secret.of_keys([]).tolist() == []


@pytest.mark.parametrize("other", [SyncSecret("another", "nightly"), SyncSecret("k3y", "weekly")])
def test_another_api_key_or_sync_has_other_hashes_and_cannot_open_what_was_sealed(
    secret: SyncSecret, other: SyncSecret
) -> None:
    assert not {*secret.of_keys(EMAILS).tolist()} & {*other.of_keys(EMAILS).tolist()}
    assert not {*secret.of_lines(EMAILS).tolist()} & {*other.of_lines(EMAILS).tolist()}
    assert other.check != secret.check
    with pytest.raises(InvalidTag):
        other.opened(secret.sealed(b"hashes", "x/0"), "x/0")


def test_the_check_is_the_same_for_the_same_key_and_is_part_of_nothing_secret(secret: SyncSecret) -> None:
    assert SyncSecret("k3y", "nightly").check == secret.check
    assert "k3y" not in secret.check
    assert len(bytes.fromhex(secret.check)) == 8


def test_what_is_sealed_is_opened_only_under_the_same_name(secret: SyncSecret) -> None:
    sealed = secret.sealed(b"hashes", "x/0")
    assert secret.opened(sealed, "x/0") == b"hashes"
    with pytest.raises(InvalidTag):
        secret.opened(sealed, "x/1")


@pytest.mark.parametrize("place", [0, 12, -1])
def test_what_is_sealed_is_not_opened_once_it_is_changed(secret: SyncSecret, place: int) -> None:
    sealed = bytearray(secret.sealed(b"hashes", "x/0"))
    sealed[place] ^= 1
    with pytest.raises(InvalidTag):
        secret.opened(bytes(sealed), "x/0")


@pytest.mark.parametrize("length", [0, 1, 11, 12, 20, 27])
def test_what_is_cut_off_is_not_opened(secret: SyncSecret, length: int) -> None:
    with pytest.raises(InvalidTag):
        secret.opened(secret.sealed(b"hashes", "x/0")[:length], "x/0")


def test_neither_a_text_nor_any_hash_of_it_is_in_what_is_sealed(secret: SyncSecret) -> None:
    plain = xxhash.xxh3_64_digest(EMAILS[0])
    keys = secret.of_keys(EMAILS)
    assert int.from_bytes(plain) not in keys.tolist()
    content = keys.tobytes()
    first, second = (secret.sealed(content + EMAILS[0], "x/0") for _ in range(2))
    # The same content looks different each time.
    assert first != second
    for sealed in (first, second):
        for part in (EMAILS[0], plain, plain[::-1], content[:8], content[7::-1]):
            assert part not in sealed
