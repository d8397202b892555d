"""Secrets leave no trace in what is written down."""

from __future__ import annotations

import json
import logging
import time
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_smartech.redaction import HIDDEN, SecretUrl, hide_api_keys, scrub, scrub_json, without_queries

SIGNED = "https://bucket.example.com/a/b.csv?X-Amz-Credential=AKIA%2F20260101&X-Amz-Signature=deadbeefdeadbeef"

secrets = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=8).filter(lambda text: "*" not in text)


def encoded(text: str, times: int) -> str:
    for _ in range(times):
        text = quote(text, safe="")
    return text


def as_json(text: str, needless: str) -> str:
    """A text in JSON, with escapes that only some writers of JSON use."""
    escaped = json.dumps(text)[1:-1].replace("/", "\\/")
    return "".join(f"\\u{ord(character):04x}" if character in needless else character for character in escaped)


def as_go(text: str) -> str:
    return as_json(text, "<>&")


def as_dotnet(text: str) -> str:
    return as_json(text, "<>&=?'+")


DISGUISES = [lambda text: text, quote, quote_plus, lambda text: json.dumps(text)[1:-1], as_go, as_dotnet]


@given(before=st.text(), secret=secrets, after=st.text(), times=st.integers(0, 2), disguise=st.sampled_from(DISGUISES))
def test_a_scrubbed_text_has_the_secret_in_no_encoding(
    before: str, secret: str, after: str, times: int, disguise: Any
) -> None:
    shown = disguise(encoded(secret, times))
    scrubbed = scrub(f"{before} {shown} {shown.lower()} {after}", [secret])
    assert secret not in scrubbed
    assert shown not in scrubbed


@given(
    place=st.sampled_from(["https://b.example.com/a/f.csv", "b.example.com/f.csv", "/bucket/f.csv", "//b/f.csv"]),
    values=st.dictionaries(
        st.sampled_from(["X-Amz-Signature", "X-Goog-Credential", "apikey", "Signature", "sig", "q", "any_name"]),
        st.text("ghijkXYZ0123456789+/=&%:;,é \"'<>\\?#", min_size=12),
        min_size=1,
    ),
    times=st.integers(0, 3),
    escape=st.sampled_from(["no", "before", "after"]),
    sentence=st.sampled_from(
        ["{}", "could not fetch ({}), sorry", '{{"path":"{}","status":"done"}}', "GET {} HTTP/1.1"]
    ),
)
def test_a_link_in_any_disguise_keeps_its_secrets(
    place: str, values: dict[str, str], times: int, escape: str, sentence: str
) -> None:
    link = f"{place}?{urlencode(values)}"
    link = encoded(as_dotnet(link) if escape == "before" else link, times)
    text = sentence.format(as_dotnet(link) if escape == "after" else link)
    shown = scrub(text, [])
    for value in values.values():
        for form in (value, quote(value), quote_plus(value), encoded(value, times + 1)):
            assert form not in shown
    assert "f.csv" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "retries exceeded with url: /bucket/key.csv?X-Amz-Credential=AKIA&X-Amz-Signature=deadbeef (Caused by)",
            "retries exceeded with url: /bucket/key.csv (Caused by)",
        ),
        ("GET /key?q=deadbeef HTTP/1.1", "GET /key HTTP/1.1"),
        ("key.csv?X-Amz-Signature=deadbeef&x=1", "key.csv?X-Amz-Signature=***&x=1"),
        ("no (apikey=deadbeef", "no (apikey=***"),
        ("type=contact&API_KEY=deadbeef%26&listid=3", "type=contact&API_KEY=***&listid=3"),
        ("a%3D1%26apikey%3Ddead%2526beef%26b%3D2", "a%3D1%26apikey%3D***%26b%3D2"),
        ("a%253D1%2526sig%253Ddeadbeef%2526b%253D2", "a%253D1%2526sig%253D***%2526b%253D2"),
        (r"a\u003d1\u0026sig\u003ddeadbeef\u0026b\u003d2", "a=1&sig=***&b=2"),
        ('{"apikey": "dead be\\"ef", "x": 1', '{"apikey": "***", "x": 1'),
        ("{'api_key': 'deadbeef', 'x': 1}", "{'api_key': '***', 'x': 1}"),
        (r'"{\"apikey\":\"deadbeef\",\"x\":1', r'"{\"apikey\":\"***",\"x\":1'),
        ("%7B%22apikey%22%3A%22deadbeef%22%2C%22x%22", "%7B%22apikey%22%3A%22***%22%2C%22x%22"),
        ("X-Amz-Security-Token: deadbeefdeadbeef\nHost: x", "X-Amz-Security-Token: ***\nHost: x"),
        ("Authorization: Bearer deadbeefdeadbeef\nHost: x", "Authorization: Bearer ***\nHost: x"),
        ('"apikey"  :     "deadbeef"', '"apikey"  :     "***"'),
        ("Policy=deadbeef&Key-Pair-Id=deadbeef", "Policy=***&Key-Pair-Id=***"),
        ("access_token=deadbeefdeadbeef&x=1", "access_token=***&x=1"),
        ("https%253A%252F%252Fuser%253Apass%2540b%252Ff.csv", "https%253A%252F%252Fb%252Ff.csv"),
    ],
)
def test_what_is_secret_is_hidden_whatever_its_form(text: str, shown: str) -> None:
    assert scrub(text, []) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("status=completed&rows=5", "a?b", "Really? Yes", "and/or? No = no", "1/2?", "1=2? a/b", "/a/b=c", "a%3Fb=c"),
        *('{"status": "completed", "url": "/a/b"}', "Invalid API key", "API key: invalid", "token=expired", "/?/?/?"),
        "s3://bucket/a%231%3Fx%3D1/b.csv",
        *(
            "requestid=0123456789abcdef0123456789abcdef",
            "design=modern",
            "100% of 25%",
            "key=staged/contacts-00001.csv",
        ),
    ],
)
def test_an_ordinary_text_stays_as_it_is(text: str) -> None:
    assert scrub(text, ["s3cret-id"]) == text
    assert scrub_json({"text": [text]}, []) == {"text": [text]}


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


@pytest.mark.parametrize("value", ["deadbeef", 1234, ["deadbeef"], {"a": "deadbeef"}])
@pytest.mark.parametrize(
    "key", ["apikey", "api_key", "X-API-Key", "X-Amz-Signature", "Signature", "urlSignature", "sig"]
)
def test_what_a_key_of_json_names_as_secret_is_hidden(key: str, value: Any) -> None:
    assert scrub_json([{key: value, "status": "done"}], []) == [{key: HIDDEN, "status": "done"}]


def test_a_key_of_json_that_may_name_a_secret_hides_long_values_only() -> None:
    payload = {
        "token": "expired",
        "access_token": "deadbeef" * 4,
        "apikey": None,
        "signature": True,
        "design": "x" * 20,
    }
    assert scrub_json(payload, []) == {**payload, "access_token": HIDDEN}


def test_a_secret_url_shows_itself_without_its_query_and_gives_itself_whole() -> None:
    url = SecretUrl(SIGNED)
    assert str(url) == "https://bucket.example.com/a/b.csv"
    assert repr(url) == "SecretUrl('https://bucket.example.com/a/b.csv')"
    assert url.get_secret_value() == SIGNED
    assert "deadbeefdeadbeef" in url.secrets()


def test_of_a_signed_url_only_that_is_masked_without_which_the_rest_is_of_no_use() -> None:
    signature, token = "deadbeef" * 8, "IQoJb3JpZ2luX2VjE/with+signs=="
    query = f"X-Amz-Credential=AKIA%2F20261127&X-Amz-Signature={signature}"
    assert SecretUrl(f"https://b.example.com/a.csv?{query}").keys() == [signature[:20]]
    with_token = SecretUrl(f"https://b.example.com/a.csv?{query}&X-Amz-Security-Token={quote(token, safe='')}")
    assert with_token.keys() == [signature[:20], token]
    other = SecretUrl("https://b.example.com/a.csv?token=0123456789abcdef&page=1")
    assert other.keys() == other.secrets()


@pytest.mark.parametrize("character", ["'", "(", ")", "{", ";", "%22"])
def test_no_character_of_a_path_lets_its_query_through(character: str) -> None:
    url = f"https://b.example.com/o{character}brien.csv?x={character}&X-Amz-Signature=deadbeef"
    assert str(SecretUrl(url)) == f"https://b.example.com/o{character}brien.csv"
    assert "deadbeef" not in without_queries(f"got {url} there")


@pytest.mark.parametrize("text", ["http://a", "http%3A%2F%2Fa", "https://a@", "http://a?b ", "%3A%2F%2F"])
def test_a_long_text_is_done_with_in_linear_time(text: str) -> None:
    """In quadratic time, a text of this length would keep the tests busy for an hour."""
    assert "?" not in without_queries(text * (2**21 // len(text)))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "25",
            "%25",
            "/?",
            "apikey=",
            "apikey",
            "apikey ",
            "apikey: ",
            '"apikey":"',
            '"apikey":"\\',
            "apikey%25",
            "\\",
        ),
        *(
            "apikey%3D%2525",
            "x-amz-",
            "token:",
            "sig=",
            "https:",
            "https%25",
            "a%2Fb%3Fc%3Dd&",
            "/a%3Fb&",
            "=",
            "\\u00",
        ),
        *("%3Fsig", "/?=", "a ", "a"),
    ],
)
def test_a_hostile_text_is_done_with_in_linear_time(text: str) -> None:
    began = time.process_time()
    scrub("%" + text * (2**19 // len(text)), ["s3cret-id"])
    assert time.process_time() - began < 5


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


@pytest.mark.parametrize(
    "told",
    [
        "<apikey>{}</apikey>",
        "{{apikey: '{}'}}",
        "Invalid API key '{}'",
        "apikey {} is not known",
        '"apikey" => "{}"',
        "api.key={}",
        "the API key is {}",
        {"name": "apikey", "value": "{}"},
        ["apikey", "{}"],
    ],
)
def test_an_api_key_is_hidden_in_whatever_way_it_is_told(told: Any) -> None:
    key = "0123456789abcdef0123456789abcdef"
    whole = json.loads(json.dumps(told).replace("{}", key))
    assert key not in json.dumps(scrub_json(whole, []))
