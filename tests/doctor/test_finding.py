"""One line of the doctor's."""

from __future__ import annotations

from airflow_provider_smartech.doctor.finding import are_broken, broken, not_tried, ok, warning


def test_a_line_begins_with_its_mark_and_what_to_do_is_below_it() -> None:
    assert ok("ping-back", "it arrived", 0.123).text == "✓ ping-back                    it arrived (0.12 s)"
    lines = broken("clock", "it is off", "Set it.\nAnd again.").text.splitlines()
    assert [line.strip() for line in lines] == ["✗ clock                        it is off", "→ Set it.", "And again."]
    assert warning("clock", "x", "y").text.startswith("! clock ")
    assert not_tried("clock", "there is none").text.endswith(" not tried: there is none")


def test_only_broken_links_are_named_as_broken() -> None:
    findings = [ok("a", ""), warning("b", "", ""), broken("c", ""), not_tried("d", "")]
    assert are_broken(findings) == ["c"]
