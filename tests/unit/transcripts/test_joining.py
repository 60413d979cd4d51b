"""Words meet speakers."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.transcripts.joining import join
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


def test_other_voices_inside_a_segment_mark_it() -> None:
    crowd = [Turn(0, 3, 0), Turn(1, 2, 1)]
    (segment,) = joined([passage(0, "a", "b", "c", "d", "e", "f")], [Turn(0, 3, 0)], overlaps=crowd).segments
    assert segment.overlap


def test_nothing_heard_is_an_empty_transcript() -> None:
    transcript = joined([], [])
    assert (transcript.segments, transcript.speakers, transcript.duration) == ((), (), 100.0)


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
def test_no_word_is_lost_and_the_same_speech_gives_the_same_transcript(
    passages: list[Passage], turns: list[Turn] | None
) -> None:
    first, second = joined(passages, turns), joined(list(reversed(passages)), turns)
    ordered = sorted(passages, key=lambda p: (p.start, p.end))
    assert [w.word for s in first.segments for w in s.words] == [w.word for p in ordered for w in p.words] or first == second
    assert sum(len(s.words) for s in first.segments) == sum(len(p.words) for p in passages)
    assert {s.speaker for s in first.segments} - {None} == {s.label for s in first.speakers}
    for segment in first.segments:
        starts = [w.start for w in segment.words]
        assert starts == sorted(starts)
        assert all(w.end >= w.start for w in segment.words)


def test_twelve_hours_of_words_are_joined_without_squares() -> None:
    passages = [passage(i * 4.0, *["word"] * 9) for i in range(2_000)]
    turns = [Turn(i * 4.0, i * 4.0 + 3.9, i % 5) for i in range(2_000)]
    began = time.process_time()
    joined(passages, turns)
    small = time.process_time() - began
    began = time.process_time()
    joined([passage(i * 4.0, *["word"] * 9) for i in range(8_000)], [Turn(i * 4.0, i * 4.0 + 3.9, i % 5) for i in range(8_000)])
    assert time.process_time() - began < 12 * small + 1  # four times the speech, not sixteen times the work
