"""Every document keeps its format's rules, whatever was said."""

from __future__ import annotations

import csv
import html
import io
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyannote.database.util import load_rttm

from auricle.transcripts.exports import FORMATS, ExportContext
from auricle.transcripts.exports.cues import cues
from auricle.transcripts.model import Gap, Segment, Speaker, Transcript, Word, segment_id
from auricle.transcripts.wording import written

PEOPLE = (Speaker(label="SPEAKER_01", seconds=1.0, name="Ada <b> & Co\n--> x"), Speaker(label="SPEAKER_02", seconds=1.0))
CONTEXT = ExportContext(title="A meeting\tof 5.mp3")
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=60)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    segments: list[Segment] = []
    gaps: list[Gap] = []
    clock = 0.0
    usual = st.sampled_from(["yes.", "well,", "really?", "it", "is", "-->", "=1+1", "好", "的。", "1.", "<i>", "#"])
    for position in range(draw(st.integers(0, 6))):
        words: list[Word] = []
        for text in draw(st.lists(texts | usual, min_size=1, max_size=15)):
            start = round(clock + draw(st.sampled_from([0.0, 0.01, 0.4, 1.5])), 3)
            clock = round(start + draw(st.floats(0, 2)), 3)
            words.append(Word(text, start, clock, 0.5))
        speaker = draw(st.sampled_from([None, "SPEAKER_01", "SPEAKER_02"]))
        joined = written([w.word for w in words])
        ids = segment_id(1, position)
        segments.append(Segment(id=ids, start=words[0].start, end=clock, speaker=speaker, text=joined, words=tuple(words)))
        if draw(st.booleans()):
            gaps.append(Gap(start=clock, end=clock + 1.0, reason="too loud"))
            clock += 1.0
    return Transcript(
        version=1, language="en", duration=clock, speakers=PEOPLE, segments=tuple(segments), gaps=tuple(gaps), warnings=("one",)
    )


def one(text: str, speaker: str | None = "SPEAKER_01", step: float = 0.4, start: float = 0.0) -> Segment:
    words = tuple(Word(w, start + i * step, start + i * step + 0.3, 0.9) for i, w in enumerate(text.split()))
    return Segment(id=segment_id(1, 0), start=start, end=words[-1].end, speaker=speaker, text=text, words=words)


def of(*segments: Segment, gaps: tuple[Gap, ...] = (), name: str | None = "Ada <b> & Co", seconds: float = 99.0) -> Transcript:
    people = (Speaker(label="SPEAKER_01", seconds=1.0, name=name), Speaker(label="SPEAKER_02", seconds=1.0))
    return Transcript(version=1, language="en", duration=seconds, speakers=people, segments=segments, gaps=gaps)


def rendered(form: str, transcript: Transcript, **context: object) -> str:
    return FORMATS[form].render(transcript, ExportContext(**context))  # type: ignore[arg-type]


def letters(text: str) -> str:
    return "".join(text.split())


def said(transcript: Transcript) -> str:
    return letters("".join(s.text for s in transcript.segments))


@settings(deadline=None)
@given(transcripts())
def test_every_export_says_all_words_in_their_order(transcript: Transcript) -> None:
    srt, vtt = (rendered(form, transcript).split("\n\n") for form in ("srt", "vtt"))
    assert letters("".join(line for block in srt for line in block.split("\n")[2:])) == said(transcript)
    payloads = ["".join(block.split("\n")[1:]) for block in vtt[1:]]
    assert letters("".join(html.unescape(re.sub(r"<v [^>]*>|</v>", "", p)) for p in payloads)) == said(transcript)
    spoken = [s.text for s in transcript.segments]
    rows = list(csv.reader(io.StringIO(FORMATS["csv"].render(transcript, CONTEXT), newline="")))
    assert [row[3].removeprefix("'") for row in rows[1:]] == [text.removeprefix("'") for text in spoken]
    assert msgspec.json.decode(FORMATS["json"].render(transcript, CONTEXT), type=Transcript) == transcript
    for form in ("txt", "md"):
        document = (
            re.sub(r"\\(.)", r"\1", rendered(form, transcript, times=False))
            if form == "md"
            else rendered(form, transcript, times=False)
        )
        where = 0
        for text in spoken:
            where = document.index(text, where) + len(text)


@settings(deadline=None)
@given(transcripts())
def test_subtitles_can_be_read_at_their_pace(transcript: Transcript) -> None:
    found = cues(transcript)
    spoken = {part for s in transcript.segments for w in s.words for part in w.word.split()}
    now = 0
    for cue in found:
        assert now <= cue.start
        assert 1_000 <= cue.end - cue.start <= 7_000
        assert 1 <= len(cue.lines) <= 2
        assert all(len(line) <= 42 or line in spoken for line in cue.lines)
        now = cue.end


@settings(deadline=None)
@given(transcripts())
def test_each_cue_has_one_speaker(transcript: Transcript) -> None:
    owners = [transcript.name_of(s.speaker) for s in transcript.segments for w in s.words for _ in letters(w.word)]
    shown = [cue.speaker for cue in cues(transcript) for line in cue.lines for _ in letters(line)]
    assert shown == owners


TIME = r"(\d\d+):([0-5]\d):([0-5]\d)[.,](\d{3})"


@settings(deadline=None)
@given(transcripts())
def test_subtitle_files_are_well_formed(transcript: Transcript) -> None:
    count = len(cues(transcript))
    vtt = rendered("vtt", transcript)
    header, *blocks = vtt.removesuffix("\n").split("\n\n")
    assert (header.rstrip("\n"), len(blocks)) == ("WEBVTT", count)
    for block in blocks:
        times, *payload = block.split("\n")
        assert re.fullmatch(rf"{TIME} --> {TIME}", times)
        assert 1 <= len(payload) <= 2
        assert not any("-->" in line for line in payload)
        assert re.fullmatch(r"(<v [^<>\n]+>[^<>]+</v>)|[^<>]+", "\n".join(payload))
        assert not re.search(r"&(?!amp;|lt;|gt;)", block)
    numbers = re.findall(rf"(?:^|\n\n)(\d+)\n{TIME} --> {TIME}\n", rendered("srt", transcript))
    assert [int(found[0]) for found in numbers] == list(range(1, count + 1))


@settings(deadline=None, max_examples=20)
@given(transcripts())
def test_rttm_is_read_by_pyannote(transcript: Transcript) -> None:
    lines = FORMATS["rttm"].render(transcript, CONTEXT)
    named = [(s.start, s.end, s.speaker) for s in transcript.segments if s.speaker and s.end > s.start]
    if not named:
        assert lines == ""
        return
    (annotation,) = load_rttm(io.StringIO(lines)).values()
    assert annotation.uri == "A_meeting_of_5.mp3"
    tracks = [(t.start, t.end, label) for t, _, label in annotation.itertracks(yield_label=True)]
    assert sorted(tracks) == [(pytest.approx(a), pytest.approx(b), label) for a, b, label in sorted(named)]


def test_nothing_said_makes_empty_documents() -> None:
    empty = of()
    assert [rendered(form, empty) for form in ("txt", "srt", "vtt", "rttm", "csv")] == [
        "",
        "",
        "WEBVTT\n",
        "",
        "start,end,speaker,text\r\n",
    ]
    assert rendered("md", empty, title="x").startswith("# x\n")


def test_markup_in_speech_stays_speech() -> None:
    transcript = of(one("<script>alert(1)</script> & more"))
    assert "<v Ada &lt;b&gt; &amp; Co>&lt;script&gt;" in rendered("vtt", transcript)
    assert "\\<script\\>" in rendered("md", transcript)


@pytest.mark.parametrize("text", ["1. First", "- so", "+ so", "---", "=== a", "# a", "> a", "* a"])
def test_speech_makes_no_headings_and_lists(text: str) -> None:
    last = rendered("md", of(one(text, speaker=None)), times=False).splitlines()[-1]
    assert re.match(r"\d*\\", last)


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2", "@home", "＝1+1"])
def test_spreadsheets_do_not_compute_what_was_said(text: str) -> None:
    assert f",'{text}" in rendered("csv", of(one(text)))
    assert f",'{text}," in rendered("csv", of(one("hello"), name=text))


def test_names_are_shown_where_there_are_some_and_labels_elsewhere() -> None:
    transcript = of(one("Hello."), one("Hi.", speaker="SPEAKER_02", start=5.0))
    assert rendered("txt", transcript) == "[00:00] Ada <b> & Co: Hello.\n\n[00:05] SPEAKER_02: Hi.\n"
    assert rendered("txt", of(one("Hello."), name="  "), times=False) == "SPEAKER_01: Hello.\n"


def test_gaps_are_told_where_they_are() -> None:
    gap = Gap(start=2.0, end=4.0, reason="Too loud.")
    transcript = of(one("Before."), one("After.", start=5.0), gaps=(gap, Gap(start=3700, end=3800, reason="Cut.")), name="Ada")
    assert rendered("txt", transcript, times=False).split("\n\n") == [
        "Ada: Before.",
        "[00:02–00:04 could not be transcribed: Too loud.]",
        "Ada: After.",
        "[1:01:40–1:03:20 could not be transcribed: Cut.]\n",
    ]
    assert "> \\[00:02–00:04 could not" in rendered("md", transcript)


def test_a_long_speech_has_several_paragraphs() -> None:
    sentences = [one("So it goes.", start=i * 10.0) for i in range(3)]
    assert len(rendered("txt", of(*sentences)).split("\n\n")) == 3  # silences
    steady = [one("on and on.", start=i * 2.0, step=0.6) for i in range(60)]
    assert len(rendered("txt", of(*steady)).split("\n\n")) == 2  # two minutes


def test_lines_are_balanced_and_break_after_punctuation() -> None:
    (cue,) = cues(of(one("We looked at the budget again, and it is late.")))
    assert cue.lines == ("We looked at the budget again,", "and it is late.")


def test_cues_end_with_sentences_and_clauses_rather_than_full_lines() -> None:
    text = (
        "The price of the contract is too high for all of us. I would say, if nobody objects, "
        "that we should ask them for another one, and wait until the end of the month."
    )
    assert [" ".join(cue.lines) for cue in cues(of(one(text, step=0.3)))] == [
        "The price of the contract is too high for all of us.",
        "I would say, if nobody objects,",
        "that we should ask them for another one, and wait until the end of the month.",
    ]


def test_short_sentences_of_one_speaker_share_a_cue() -> None:
    (cue,) = cues(of(one("Yes."), one("I agree.", start=0.6)))
    assert cue.lines == ("Yes. I agree.",)


def test_a_gap_and_a_silence_end_a_cue() -> None:
    near = (one("Yes."), one("I agree.", start=0.6))
    assert len(cues(of(*near, gaps=(Gap(start=0.4, end=0.6, reason="lost"),)))) == 2
    assert len(cues(of(near[0], one("I agree.", start=1.6)))) == 2


def test_a_short_cue_stays_for_a_second_if_there_is_room() -> None:
    alone = cues(of(one("Yes.", start=3.0)))
    assert [(c.start, c.end) for c in alone] == [(3_000, 4_000)]
    early = cues(of(one("Yes.", start=3.0), one("Why would he?", speaker="SPEAKER_02", start=3.7, step=0.5)))
    assert [(c.start, c.end) for c in early] == [(2_700, 3_700), (3_700, 5_000)]  # it comes early, and the next in time


def test_a_full_cue_stays_until_it_can_be_read_if_there_is_room() -> None:
    quick = one("Everybody wondered whether characteristically complicated words", step=0.1)
    (cue,) = cues(of(quick))
    assert cue.end - cue.start == sum(map(len, cue.lines)) * 50
    (first, _) = cues(of(quick, one("Yes.", speaker="SPEAKER_02", start=1.5)))
    assert first.end == 1_460


def test_a_word_longer_than_a_line_is_not_split() -> None:
    word = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
    found = cues(of(one(f"Die {word} ist neu.")))
    assert word in [line for cue in found for line in cue.lines]


def test_chinese_fills_lines_without_blanks() -> None:
    words = tuple(Word(c, i * 0.1, i * 0.1 + 0.1, 0.9) for i, c in enumerate("我们今天再看一次预算" * 5))
    segment = Segment(id=segment_id(1, 0), start=0, end=5, speaker=None, text="", words=words)
    (cue,) = cues(of(segment))
    assert "".join(cue.lines) == "我们今天再看一次预算" * 5
    assert [len(line) for line in cue.lines] == [25, 25]
