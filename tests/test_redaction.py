"""Secrets leave no trace in what is written down."""

from __future__ import annotations

import logging
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_smartech.redaction import HIDDEN, SecretUrl, hide_api_keys, scrub, scrub_json, without_queries

SIGNED = "https://bucket.example.com/a/b.csv?X-Amz-Credential=AKIA%2F20260101&X-Amz-Signature=deadbeefdeadbeef"

secrets = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=8).filter(lambda text: "*" not in text)


@given(before=st.text(), secret=secrets, after=st.text())
def test_a_scrubbed_text_has_the_secret_in_no_encoding(before: str, secret: str, after: str) -> None:
    text = f"{before}{secret} {quote(secret, safe='')} {quote_plus(secret)} {quote(secret, safe='').lower()}{after}"
    scrubbed = scrub(text, [secret])
    assert secret not in scrubbed
    assert quote(secret, safe="") not in scrubbed


@pytest.mark.parametrize("form", [SIGNED, quote(SIGNED, safe=""), quote(SIGNED), SIGNED.replace("https", "HTTPS")])
def test_every_url_in_a_text_loses_its_query(form: str) -> None:
    cut = without_queries(f"got <{form}> and '{form}'")
    assert "deadbeef" not in cut
    assert "Credential" not in cut
    assert "b.csv" in cut


def test_a_url_loses_its_login() -> None:
    assert without_queries("https://user:pass@example.com/x") == "https://example.com/x"


def test_json_is_scrubbed_in_depth_keys_included() -> None:
    payload = {"s3cret-id": [1, {"url": SIGNED}, "the s3cret-id"], "n": None}
    expected = {HIDDEN: [1, {"url": "https://bucket.example.com/a/b.csv"}, f"the {HIDDEN}"], "n": None}
    assert scrub_json(payload, ["s3cret-id"]) == expected


def test_a_secret_url_shows_itself_without_its_query_and_gives_itself_whole() -> None:
    url = SecretUrl(SIGNED)
    assert str(url) == "https://bucket.example.com/a/b.csv"
    assert repr(url) == "SecretUrl('https://bucket.example.com/a/b.csv')"
    assert url.get_secret_value() == SIGNED
    assert "deadbeefdeadbeef" in url.secrets()


@pytest.mark.parametrize("character", ["'", "(", ")", "{", ";", "%22"])
def test_no_character_of_a_path_lets_its_query_through(character: str) -> None:
    url = f"https://b.example.com/o{character}brien.csv?x={character}&X-Amz-Signature=deadbeef"
    assert str(SecretUrl(url)) == f"https://b.example.com/o{character}brien.csv"
    assert "deadbeef" not in without_queries(f"got {url} there")


@pytest.mark.parametrize("text", ["http://a", "http%3A%2F%2Fa", "https://a@", "http://a?b ", "%3A%2F%2F"])
def test_a_hostile_text_is_done_with_in_linear_time(text: str) -> None:
    """In quadratic time, a text of this length would keep the tests busy for an hour."""
    assert "?" not in without_queries(text * (2**21 // len(text)))


@pytest.mark.parametrize(
    "text",
    [
        r'{"path":"https:\/\/b.example.com\/f.csv?X-Amz-Signature=deadbeef"}',
        r"https://b.example.com/f.csv\u003fX-Amz-Signature=deadbeef",
        "https://proxy.example.com/get/https%3A%2F%2Fb.example.com%2Ff.csv%3FX-Amz-Signature=deadbeef",
        "https:%2F%2Fb.example.com/f.csv?X-Amz-Signature=deadbeef",
    ],
)
def test_a_url_in_disguise_loses_its_query(text: str) -> None:
    assert "deadbeef" not in without_queries(text)
    assert "f.csv" in without_queries(text)


def test_what_follows_an_encoded_url_in_a_form_is_kept() -> None:
    assert without_queries("p=https%3A%2F%2Fb%2Ff.csv%3Fsig%3D1&status=done") == "p=https%3A%2F%2Fb%2Ff.csv&status=done"


def test_names_that_become_the_same_keep_all_their_values() -> None:
    payload = {"https://b/a?s=1": "failed", "https://b/a?s=2": "completed"}
    assert scrub_json(payload, []) == {"https://b/a": ["failed", "completed"]}


def test_a_filtered_logger_shows_urls_with_an_api_key_without_their_queries(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("some.library")
    logger.addFilter(hide_api_keys)
    with caplog.at_level(logging.DEBUG):
        logger.debug('"%s %s" %s', "POST", "/apiv2?type=contact&apikey=s3cret", 200)
        logger.debug('"%s %s" %s', "GET", "/other?a=b", 200)
    assert caplog.messages == ['"POST /apiv2" 200', '"GET /other?a=b" 200']
