"""What may be sent to Smartech, and what is refused before it is."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_smartech.api.parameters import BulkUploadParameters
from airflow_provider_smartech.errors import SmartechInvalidParameter

PATH = "https://files.example.com/contacts.csv"


@pytest.mark.parametrize(
    "path",
    [
        *("", "contacts.csv", "/contacts.csv", "s3://bucket/contacts.csv", "https://", "http:///x.csv"),
        *("https://files.example.com/my contacts.csv", "https://exa\nmple.com/x.csv", "https://[::1/x.csv"),
        *("https://files.example.com:99999/x.csv", "javascript:alert(1)", "{{ params.path }}", "None"),
        *('https://x.example.com/"y".csv', "https://x.example.com/<y>.csv"),
    ],
)
def test_a_path_that_is_no_absolute_http_url_is_refused(path: str) -> None:
    with pytest.raises(SmartechInvalidParameter, match=r"^path: give the full address") as caught:
        BulkUploadParameters.check(path)
    assert caught.value.parameter == "path"


@pytest.mark.parametrize("path", [None, 5, ["https://files.example.com/x.csv"]])
def test_a_path_that_is_no_text_is_refused(path: Any) -> None:
    with pytest.raises(SmartechInvalidParameter, match=r"^path: give the full address"):
        BulkUploadParameters.check(path)


@pytest.mark.parametrize("listid", [0, -3, True, 1.5, "", "33a", "-1", "None", "٣", "9" * 5000, [33]])
def test_a_listid_that_is_no_positive_integer_is_refused(listid: Any) -> None:
    with pytest.raises(SmartechInvalidParameter, match=r"^listid: give the number"):
        BulkUploadParameters.check(PATH, listid)


@pytest.mark.parametrize("listid", [33, "33", " 33 "])
def test_a_listid_may_be_a_rendered_string_of_digits(listid: Any) -> None:
    assert BulkUploadParameters.check(PATH, listid).form()["listid"] == "33"


@pytest.mark.parametrize("email", ["", "sales", "sales@", "@corp.test", "sales@corp", "a@b.c, d@e.f", "a b@corp.test"])
def test_an_address_that_is_no_email_is_refused_without_being_shown(email: str) -> None:
    with pytest.raises(SmartechInvalidParameter, match=r"^notifyemail: give one e-mail address") as caught:
        BulkUploadParameters.check(PATH, notifyemail=email)
    assert not email or email not in str(caught.value)


def test_a_callback_that_is_no_url_is_refused_without_being_shown() -> None:
    with pytest.raises(SmartechInvalidParameter, match=r"^callback: give the address") as caught:
        BulkUploadParameters.check(PATH, callback="ftp://hooks.example.com/s3cret")
    assert "s3cret" not in str(caught.value)


def test_a_refused_path_is_shown_without_its_query() -> None:
    with pytest.raises(SmartechInvalidParameter) as caught:
        BulkUploadParameters.check("ftp://files.example.com/a.csv https://x.example.com/?X-Amz-Signature=abcdef0123")
    assert "abcdef0123" not in str(caught.value)


def test_parameters_that_are_not_given_are_not_sent() -> None:
    assert BulkUploadParameters.check(PATH).form() == {"path": PATH}


def test_the_repr_shows_neither_query_nor_callback_nor_address() -> None:
    parameters = BulkUploadParameters.check(
        f"{PATH}?X-Amz-Signature=s1gnature", 33, "ops@example.com", "https://hooks.example.com/t0ken"
    )
    assert repr(parameters) == f"BulkUploadParameters(path='{PATH}', listid=33)"


def fingerprint(query: str, listid: int | None = 1) -> str:
    return BulkUploadParameters.check(f"{PATH}{query}", listid).fingerprint()


@pytest.mark.parametrize(
    "signature",
    [
        "X-Amz-Algorithm=AWS4&X-Amz-Credential=a&X-Amz-Date={0}&X-Amz-Security-Token={0}&X-Amz-Signature={0}",
        "X-Goog-Algorithm=GOOG4&X-Goog-Credential=a&X-Goog-Date={0}&X-Goog-Signature={0}",
        "AWSAccessKeyId={0}&Signature={0}&x-amz-security-token={0}&Expires={0}",
        "GoogleAccessId=a&Expires={0}&Signature={0}",
        "Expires={0}&Signature={0}&Key-Pair-Id=a",
        "Policy={0}&Signature={0}&Key-Pair-Id=a",
        "sv=2024&st={0}&se={0}&sr=b&sp=r&skoid=a&ske={0}&sig={0}",
    ],
)
def test_the_fingerprint_is_the_same_for_the_same_file_whatever_its_signature(signature: str) -> None:
    first, second = signature.format("1"), signature.format("2")
    assert fingerprint("") == fingerprint(f"?{first}") == fingerprint(f"?{second}")
    assert fingerprint("?file=a&b=1") == fingerprint(f"?b=1&{first}&file=a") == fingerprint(f"?{second}&file=a&b=1")
    assert fingerprint(f"?{first}&file=a") != fingerprint(f"?{first}&file=b")


@pytest.mark.parametrize(
    "query",
    [
        *("token={0}", "st={0}", "se={0}", "sp={0}", "sr={0}", "expires={0}", "policy={0}", "sig={0}", "{0}"),
        *("signature={0}", "X-Amz-Date={0}", "Signature=a&Expires={0}", "sv=1&st={0}", "X-Amz-Signature=a&token={0}"),
        *("sig=a&sv=1&token={0}", "X-Goog-Signature=a&X-Amz-Date={0}", "X-Amz-Signature=a&versionId={0}"),
        *("X-Amz-Signature=&X-Amz-Date={0}",),
    ],
)
def test_a_parameter_that_signs_nothing_tells_files_apart(query: str) -> None:
    assert fingerprint("?" + query.format("1")) != fingerprint("?" + query.format("2"))


def test_the_fingerprint_tells_lists_and_files_apart() -> None:
    assert len({fingerprint(""), fingerprint("?file=a"), fingerprint("", 2), fingerprint("", None)}) == 4
