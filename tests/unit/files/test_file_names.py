"""Names of files: kept as people write them, without what misleads."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.errors import Invalid
from auricle.files.model import MAX_NAME, clean_name, folded


@pytest.mark.parametrize("name", ["Gespräch mit Ömer.mp3", "インタビュー.wav", "запись №3.ogg", "👩‍🔬 lab.m4a", "مقابلة.mp4"])
def test_names_of_any_script_are_kept(name: str) -> None:
    assert clean_name(f"  {name} ") == unicodedata.normalize("NFC", name)


def test_two_ways_to_write_one_letter_give_one_name() -> None:
    assert clean_name("Cafe\u0301.mp3") == clean_name("Caf\u00e9.mp3")


def test_direction_overrides_cannot_disguise_an_ending() -> None:
    assert clean_name("song\u202e3pm.exe") == "song3pm.exe"


@pytest.mark.parametrize("name", ["", "   ", "\u0000\u0007", ".", "..", "\u2028"])
def test_a_name_must_be_visible(name: str) -> None:
    with pytest.raises(Invalid, match="Give the file a name"):
        clean_name(name)


@pytest.mark.parametrize("name", ["a/b.mp3", "..\\b.mp3", "/etc/passwd"])
def test_a_name_holds_no_path(name: str) -> None:
    with pytest.raises(Invalid, match="folders"):
        clean_name(name)


def test_long_names_are_refused_with_their_length() -> None:
    assert len(clean_name("ü" * MAX_NAME)) == MAX_NAME
    with pytest.raises(Invalid, match="256"):
        clean_name("ü" * (MAX_NAME + 1))


@given(st.text(max_size=300))
def test_whatever_is_accepted_is_clean_for_good(text: str) -> None:
    try:
        name = clean_name(text)
    except Invalid:
        return
    assert clean_name(name) == name
    assert not set(name) & set("/\\\0\n\r\u202e")
    assert 0 < len(name) <= MAX_NAME


@given(st.text(max_size=50))
def test_folding_is_settled_after_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)


def test_folding_forgets_case_and_width() -> None:
    assert folded("STRASSE Ｗide") == folded("straße wide")
