"""Every document keeps its format's rules, whatever was said."""

from __future__ import annotations

import csv
import io
import itertools
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.transcripts.exports import FORMATS, ExportContext
from auricle.transcripts.exports.subtitles import LINE, cues
from auricle.transcripts.model import Segment, Speaker, Transcript, Word, segment_id

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=60)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    segments: list[Segment] = []
    clock = 0.0
    for position in range(draw(st.integers(0, 5))):
        words: list[Word] = []
        for text in draw(st.lists(texts | st.sampled_from(["yes.", "well,", "really?"]), min_size=1, max_size=15)):
            start = round(clock + draw(st.floats(0, 1.5)), 3)
            clock = round(start + draw(st.floats(0, 2)), 3)
            words.append(Word(text, start, clock, 0.5))
        speaker = draw(st.sampled_from([None, "SPEAKER_01", "SPEAKER_02"]))
        joined = " ".join(w.word for w in words)
        segments.append(
            Segment(
                id=segment_id(1, position), start=words[0].start, end=clock, speaker=speaker, text=joined, words=tuple(words)
            )
        )
    people = (Speaker(label="SPEAKER_01", seconds=1.0, name="Ada <b> & Co"), Speaker(label="SPEAKER_02", seconds=1.0))
    return Transcript(version=1, language="en", duration=clock, speakers=people, segments=tuple(segments))


@settings(deadline=None, max_examples=80)
@given(transcripts())
def test_subtitles_obey_their_rules(transcript: Transcript) -> None:
    found = cues(transcript)
    for cue in found:
        assert 1 <= len(cue.lines) <= 2
        assert all(len(line) <= LINE or " " not in line for line in cue.lines)
        assert cue.end - cue.start >= 0.999
        assert cue.end - cue.start <= 7.001 or sum(len(line.split()) for line in cue.lines) == 1
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    shown = [word for cue in found for line in cue.lines for word in line.split()]
    assert shown == [part for s in transcript.segments for w in s.words for part in w.word.split()]


@settings(deadline=None, max_examples=40)
@given(transcripts())
def test_documents_can_be_read_back(transcript: Transcript) -> None:
    context = ExportContext(title="A meeting")
    rendered = {name: form.render(transcript, context) for name, form in FORMATS.items()}
    assert msgspec.json.decode(rendered["json"], type=Transcript) == transcript
    rows = list(csv.reader(io.StringIO(rendered["csv"], newline="")))
    assert [row[3].removeprefix("'") for row in rows[1:]] == [s.text.removeprefix("'") for s in transcript.segments]
    named = [s for s in transcript.segments if s.speaker]
    lines = rendered["rttm"].splitlines()
    assert [line.split(" ")[7] for line in lines] == [s.speaker for s in named]
    assert all(line.split(" ")[1] == "A_meeting" for line in lines)
    assert rendered["vtt"].startswith("WEBVTT\n")
    time = r"\d\d:\d\d:\d\d[.,]\d\d\d"
    for name in ("srt", "vtt"):
        assert len(re.findall(rf"^{time} --> {time}$", rendered[name], re.MULTILINE)) == len(cues(transcript))


def one(text: str) -> Transcript:
    words = tuple(Word(w, i * 0.4, i * 0.4 + 0.3, 0.9) for i, w in enumerate(text.split()))
    segment = Segment(id=segment_id(1, 0), start=0.0, end=words[-1].end, speaker="SPEAKER_01", text=text, words=words)
    speaker = Speaker(label="SPEAKER_01", seconds=1.0, name="Ada <b> & Co")
    return Transcript(version=1, language="en", duration=9.0, speakers=(speaker,), segments=(segment,))


def test_markup_in_speech_stays_speech() -> None:
    transcript = one("<script>alert(1)</script> & more")
    vtt = FORMATS["vtt"].render(transcript, ExportContext())
    assert "<v Ada &lt;b› &amp; Co>&lt;script&gt;" in vtt
    assert "\\<script\\>" in FORMATS["md"].render(transcript, ExportContext())


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2", "@home"])
def test_spreadsheets_do_not_compute_what_was_said(text: str) -> None:
    assert f"'{text}" in FORMATS["csv"].render(one(text), ExportContext())


def test_lines_are_balanced_and_break_after_punctuation() -> None:
    (cue,) = cues(one("We looked at the budget again, and it is late."))
    assert cue.lines == ("We looked at the budget again,", "and it is late.")
