"""Words meet speakers."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from random import Random
from types import FrameType

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.transcripts.joining import Lengths, join
from auricle.transcripts.model import Gap, Passage, Transcript, Turn, Word


def passage(start: float, *texts: str, step: float = 0.5) -> Passage:
    words = tuple(Word(text, start + i * step, start + i * step + 0.4, 0.9) for i, text in enumerate(texts))
    return Passage(start, start + len(texts) * step, " ".join(texts), words)


def joined(passages: list[Passage], turns: list[Turn] | None, **more: object) -> Transcript:
    return join(passages, turns, language="en", duration=100.0, version=1, **more)[0]  # type: ignore[arg-type]


def said(transcript: Transcript) -> list[tuple[str | None, str]]:
    return [(s.speaker, s.text) for s in transcript.segments]


def test_each_passage_goes_to_who_holds_the_voice() -> None:
    transcript = joined([passage(0, "Hello", "Ben."), passage(5, "Good", "day.")], [Turn(0, 1, 4), Turn(5, 6, 2)])
    assert said(transcript) == [("SPEAKER_01", "Hello Ben."), ("SPEAKER_02", "Good day.")]
    assert [s.label for s in transcript.speakers] == ["SPEAKER_01", "SPEAKER_02"]


def test_a_passage_with_two_voices_is_divided_by_word() -> None:
    turns = [Turn(0, 1.0, 0), Turn(1.0, 2.0, 1)]
    assert said(joined([passage(0, "Are", "you?", "Yes,", "sir.")], turns)) == [
        ("SPEAKER_01", "Are you?"),
        ("SPEAKER_02", "Yes, sir."),
    ]


def test_collapsed_word_times_do_not_move_a_passage_to_its_neighbour() -> None:
    words = tuple(Word(text, 9.9, 10.0, 0.5) for text in ("all", "of", "this"))
    transcript = joined([Passage(8.0, 10.0, "all of this", words)], [Turn(8.0, 9.8, 0), Turn(9.9, 15.0, 1)])
    assert said(transcript) == [("SPEAKER_01", "all of this")]


def test_a_lone_short_word_inside_a_sentence_is_a_slip_of_the_boundary() -> None:
    turns = [Turn(0, 1.0, 0), Turn(1.0, 1.5, 1), Turn(1.5, 3.0, 0)]
    assert said(joined([passage(0, "we", "will", "see", "about", "it.")], turns)) == [("SPEAKER_01", "we will see about it.")]


def test_an_answer_of_one_word_after_a_sentence_is_kept() -> None:
    turns = [Turn(0, 1.0, 0), Turn(1.0, 1.5, 1), Turn(1.5, 3.0, 0)]
    spoken = said(joined([passage(0, "Will", "you?", "Yes.", "Then", "go.")], turns))
    assert spoken == [("SPEAKER_01", "Will you?"), ("SPEAKER_02", "Yes."), ("SPEAKER_01", "Then go.")]


def test_without_turns_nobody_is_named() -> None:
    transcript = joined([passage(0, "Hello.")], None)
    assert said(transcript) == [(None, "Hello.")]
    assert transcript.speakers == ()


def test_a_word_far_from_any_voice_belongs_to_nobody() -> None:
    assert said(joined([passage(50, "Hm.")], [Turn(0, 1, 0)])) == [(None, "Hm.")]
    assert said(joined([passage(2, "Hm.")], [Turn(0, 1, 0)])) == [("SPEAKER_01", "Hm.")]


def test_segments_end_at_pauses_and_never_cross_a_gap() -> None:
    parts = [passage(0, "one", "two"), passage(4, "three")]
    assert [s.text for s in joined(parts, None).segments] == ["one two", "three"]
    near = [passage(0, "one", "two"), passage(1.2, "three")]
    assert [s.text for s in joined(near, None).segments] == ["one two three"]
    torn = joined(near, None, gaps=(Gap(start=1.0, end=1.2, reason="lost"),))
    assert [s.text for s in torn.segments] == ["one two", "three"]
    assert torn.gaps[0].reason == "lost"


def test_people_who_speak_at_once_mark_the_segment() -> None:
    crowd = [Turn(0, 3, 0), Turn(1, 2, 1)]
    (segment,) = joined([passage(0, "a", "b", "c", "d", "e", "f")], [Turn(0, 3, 0)], overlaps=crowd).segments
    assert segment.overlap


def test_a_neighbour_who_waits_marks_nothing() -> None:
    crowd = [Turn(0, 2.4, 0), Turn(2.4, 5, 1), Turn(0, 2.4, 0)]
    (segment,) = joined([passage(0, "a", "b", "c", "d", "e", "f")], [Turn(0, 3, 0)], overlaps=crowd).segments
    assert not segment.overlap


def test_nothing_heard_is_an_empty_transcript() -> None:
    transcript = joined([], [])
    assert (transcript.segments, transcript.speakers, transcript.duration) == ((), (), 100.0)


def test_a_short_answer_in_half_a_minute_of_another_is_kept() -> None:
    monologue = [f"word{i}" for i in range(25)] + ["right?", "Yes."] + [f"word{i}" for i in range(25)]
    turns = [Turn(0, 13.0, 0), Turn(13.0, 13.45, 1), Turn(13.5, 27, 0)]
    assert (1, "Yes.") in [
        (int(s.speaker[-1]) - 1, s.text) for s in joined([passage(0, *monologue)], turns).segments if s.speaker
    ]


def test_collapsed_words_between_others_go_to_who_spoke_there_sentence_by_sentence() -> None:
    crushed = [
        Word(text, 9.7 + i * 0.05, 9.74 + i * 0.05, 0.3)
        for i, text in enumerate(["Who", "is", "next?", "I", "think", "Ada", "is."])
    ]
    words = (Word("Good.", 0.0, 0.5, 0.9), *crushed, Word("Thanks.", 10.2, 10.8, 0.9))
    text = "Good. Who is next? I think Ada is. Thanks."
    turns = [Turn(0, 3.9, 0), Turn(4.0, 9.8, 1), Turn(10.1, 11, 0)]
    assert said(joined([Passage(0, 11, text, words)], turns)) == [
        ("SPEAKER_01", "Good."),
        ("SPEAKER_01", "Who is next?"),
        ("SPEAKER_02", "I think Ada is."),
        ("SPEAKER_01", "Thanks."),
    ]


def test_speakers_change_at_the_end_of_a_sentence_when_it_is_near() -> None:
    late, early = Turn(0, 1.6, 0), Turn(0, 0.9, 0)
    words = "how are you? we are fine."
    expected = [("SPEAKER_01", "how are you?"), ("SPEAKER_02", "we are fine.")]
    assert said(joined([passage(0, *words.split())], [late, Turn(1.6, 3, 1)])) == expected
    assert said(joined([passage(0, *words.split())], [early, Turn(0.9, 3, 1)])) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ("so we could No. not now", "so we could"),  # reads as an interruption
        ("so we could but then no. not now", "so we could"),  # the end is too far away
        ("so we could. but no. not now", "so we could."),  # ends there already
    ],
)
def test_interruptions_stay_where_they_were_heard(texts: str, expected: str) -> None:
    spoken = said(joined([passage(0, *texts.split())], [Turn(0, 1.5, 0), Turn(1.5, 4, 1)]))
    assert spoken[0] == ("SPEAKER_01", expected)
    assert spoken[1][0] == "SPEAKER_02"


def test_what_the_text_writes_as_one_word_is_one_word() -> None:
    words = tuple(
        Word(text, i * 0.3, i * 0.3 + 0.3, 0.5 + i / 10) for i, text in enumerate(["twenty", "-five", "or", "3", ".5"])
    )
    (segment,) = joined([Passage(0, 1.5, "twenty-five or 3.5", words)], None).segments
    assert [(w.word, w.start, w.end, w.probability) for w in segment.words] == [
        ("twenty-five", 0.0, 0.6, 0.5),
        ("or", 0.6, 0.9, 0.7),
        ("3.5", 0.9, 1.5, 0.8),
    ]
    assert segment.text == "twenty-five or 3.5"


def test_scripts_without_blanks_get_none() -> None:
    words = tuple(Word(text, i * 0.3, i * 0.3 + 0.3, 0.9) for i, text in enumerate(["我们", "用", "Python", "写。"]))
    (segment,) = joined([Passage(0, 1.2, "我们用Python写。", words)], None).segments
    assert segment.text == "我们用 Python 写。"
    assert len(segment.words) == 4


def test_a_passage_without_word_times_is_spread_evenly() -> None:
    (segment,) = joined([Passage(2, 4, "good day 再见。", ())], None).segments
    assert [(w.word, w.start, w.probability) for w in segment.words] == [
        ("good", 2.0, 0.0),
        ("day", 2.5, 0.0),
        ("再", 3.0, 0.0),
        ("见。", 3.5, 0.0),
    ]


def test_long_speech_is_cut_at_clauses_or_silences_and_never_longer_than_allowed() -> None:
    texts = [f"w{i}" + ("," if i in (21, 50) else "") for i in range(80)]
    transcript = joined([passage(0, *texts)], None, lengths=Lengths(longest=15.0))
    assert [s.words[-1].word for s in transcript.segments] == ["w21,", "w50,", "w79"]
    assert all(s.end - s.start <= 15.0 for s in transcript.segments)


def test_words_that_run_over_a_chunks_border_never_run_backwards() -> None:
    left = Passage(0, 10.4, "one two", (Word("one", 9.0, 9.5, 0.9), Word("two", 10.2, 10.4, 0.9)))
    right = Passage(10.0, 11, "three four", (Word("three", 10.0, 10.3, 0.9), Word("four", 10.5, 10.9, 0.9)))
    words = [w for s in joined([right, left], None).segments for w in s.words]
    assert [(w.word, w.start) for w in words] == [("one", 9.0), ("two", 10.2), ("three", 10.2), ("four", 10.5)]


def test_speakers_are_numbered_as_they_appear_and_their_own_numbers_are_told() -> None:
    turns = [Turn(0, 1, 7), Turn(5, 7.5, 2), Turn(50, 60, 4)]
    transcript, order = join(
        [passage(0, "Hello."), passage(5, "Yes.")], turns, language="en", duration=60.00049, version=3, warnings=["w"]
    )
    assert order == (7, 2)
    assert [(s.label, s.seconds) for s in transcript.speakers] == [("SPEAKER_01", 1.0), ("SPEAKER_02", 2.5)]
    assert (transcript.duration, transcript.version, transcript.warnings) == (60.0, 3, ("w",))


def test_the_same_speech_gives_the_same_bytes_and_another_version_other_ids() -> None:
    first, again = (msgspec.json.encode(joined([passage(0, "Hello.")], [Turn(0, 1, 0)])) for _ in range(2))
    assert first == again
    other, _ = join([passage(0, "Hello.")], None, language="en", duration=1.0, version=2)
    assert other.segments[0].id != msgspec.json.decode(first, type=Transcript).segments[0].id
    assert list(msgspec.json.decode(first)) == ["version", "language", "duration", "speakers", "segments", "gaps", "warnings"]


moments = st.floats(0, 60, allow_nan=False).map(lambda t: round(t, 2))
spoken_words = st.builds(
    lambda text, start, length: Word(text, start, start + length, 0.5),
    st.sampled_from(["yes", "no.", "well,", "so", "it's"]),
    moments,
    st.floats(0, 2),
)
some_passages = st.lists(
    st.lists(spoken_words, min_size=0, max_size=6)
    .map(lambda ws: sorted(ws, key=lambda w: w.start))
    .map(
        lambda ws: Passage(
            ws[0].start if ws else 0.0, max((w.end for w in ws), default=0.0), " ".join(w.word for w in ws), tuple(ws)
        )
    ),
    max_size=8,
)
some_turns = st.lists(
    st.builds(lambda a, d, k: Turn(a, a + d + 0.01, k), moments, st.floats(0, 9), st.integers(0, 3)), max_size=8
)


@settings(deadline=None)
@given(some_passages, st.none() | some_turns)
def test_no_word_is_lost_whatever_was_heard(passages: list[Passage], turns: list[Turn] | None) -> None:
    gaps = (Gap(start=10, end=11, reason="lost"), Gap(start=30, end=40, reason="lost"))
    transcript = joined(passages, turns, overlaps=turns or (), gaps=gaps, lengths=Lengths(longest=5.0))
    assert (
        joined(passages[::-1], turns, overlaps=(turns or [])[::-1], gaps=gaps[::-1], lengths=Lengths(longest=5.0)) == transcript
    )
    ordered = sorted(passages, key=lambda p: (p.start, p.end, msgspec.json.encode(p)))
    assert [w.word for s in transcript.segments for w in s.words] == [w.word for p in ordered for w in p.words]
    assert {s.speaker for s in transcript.segments} - {None} == {s.label for s in transcript.speakers}
    starts = [w.start for s in transcript.segments for w in s.words]
    assert starts == sorted(starts)
    for segment in transcript.segments:
        assert all(segment.start <= w.start <= w.end <= segment.end for w in segment.words)
        assert segment.text == " ".join(w.word for w in segment.words)
        assert not any(segment.start < gap.start < segment.words[-1].start for gap in gaps)
        assert len(segment.words) == 1 or segment.words[-1].start - segment.start <= 5.0


def talk(seed: int, answers: float) -> tuple[list[Passage], list[Turn], list[int]]:
    """A conversation as models hear it: passages of half a minute, borders and words a little off; and who said each word."""
    draw = Random(seed)
    sentences = [
        "When will it be ready?",
        "I think that we should ask them again tomorrow.",
        "The price, they say, is too high.",
    ]
    spoken: list[tuple[str, float, float, int]] = []
    turns: list[tuple[float, float, int]] = []
    clock, speaker = 0.0, 0
    for _ in range(60):
        brief = draw.random() < answers
        speaker = (speaker + 1) % 3 if brief or draw.random() < 0.3 else speaker
        begin = clock
        for text in ("Yes." if brief else draw.choice(sentences)).split():
            spoken.append((text, clock, clock + 0.12 + 0.05 * len(text), speaker))
            clock = spoken[-1][2] + draw.random() * 0.05
        turns.append((begin, clock, speaker))
        clock += draw.choice([0.0, 0.05, 0.2, 0.6])
    borders = [0.0, *((a[1] + b[0]) / 2 + draw.gauss(0, 0.15) for a, b in itertools.pairwise(turns)), clock]
    heard = [Turn(borders[i], max(borders[i], borders[i + 1]), k) for i, (_, _, k) in enumerate(turns)]
    words: list[list[Word]] = [[]]
    for text, start, end, _ in spoken:
        if words[-1] and end - words[-1][0].start > 29:
            words.append([])
        moved = max(words[-1][-1].start if words[-1] else 0.0, start + draw.gauss(0, 0.06))
        words[-1].append(Word(text, moved, max(moved, end + draw.gauss(0, 0.06)), 0.9))
    passages = [Passage(w[0].start, w[-1].end, " ".join(x.word for x in w), tuple(w)) for w in words]
    return passages, heard, [k for *_, k in spoken]


@pytest.mark.parametrize(("answers", "expected"), [(0.1, 0.995), (0.4, 0.985)])
def test_words_find_their_speakers_though_all_borders_are_a_little_off(answers: float, expected: float) -> None:
    right = total = 0
    for seed in range(6):
        passages, turns, truth = talk(seed, answers)
        transcript, order = join(passages, turns, language="en", duration=500.0, version=1)
        found = [order[int(s.speaker[-2:]) - 1] if s.speaker else None for s in transcript.segments for _ in s.words]
        right += sum(a == b for a, b in zip(found, truth, strict=True))
        total += len(truth)
    assert right / total > expected


def calls_of(work: Callable[[], object]) -> int:
    """How many calls (Python's and C's) some work takes: a measure that no busy machine changes."""
    count = 0

    def seen(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_the_work_grows_with_the_recording_and_not_with_its_square() -> None:
    def work(length: int) -> Callable[[], object]:
        passages = [passage(i * 4.0, *["word"] * 7) for i in range(length)]
        turns = [Turn(i * 4.0 + k, i * 4.0 + k + 0.9, i % 3 + k) for i in range(length) for k in range(4)]
        crowd = [Turn(0, length * 4.0, 9), *turns]
        return lambda: joined(passages, turns, overlaps=crowd)

    assert calls_of(work(400)) < 5 * calls_of(work(100))
