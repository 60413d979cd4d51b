"""What every `MediaReader` does with whatever is uploaded."""

from __future__ import annotations

from collections.abc import Callable
from io import SEEK_SET, BytesIO
from itertools import pairwise
from pathlib import Path

import numpy
import pytest
from numpy.typing import NDArray

from auricle.errors import Permanent, Retryable
from auricle.ports.media import TAIL_SECONDS, MediaReader
from builders import recordings
from builders.recordings import BAD, BAD_PHRASES, GOOD, HURT, SECONDS, SPEECHLESS, sparse_sentences, sparse_speech, write

from .conftest import Reading, decoded, read

Made = Callable[[str], Path]


def delay(heard: NDArray[numpy.int16], truth: NDArray[numpy.int16]) -> tuple[float, float]:
    """By how many seconds `heard` is later than `truth`, and how alike they are then, 0..1."""
    size = 2 * max(len(heard), len(truth))
    spectra = numpy.fft.rfft(heard.astype(float), size) * numpy.conj(numpy.fft.rfft(truth.astype(float), size))
    likeness = numpy.fft.irfft(spectra)
    best = int(numpy.abs(likeness).argmax())
    norm = numpy.linalg.norm(heard.astype(float)) * numpy.linalg.norm(truth.astype(float))
    return (best - size if best > size // 2 else best) / 16_000, float(abs(likeness[best]) / norm)


def loudness(samples: NDArray[numpy.int16]) -> float:
    """Decibels, against nothing in particular."""
    return float(10 * numpy.log10(numpy.square(samples.astype(float)).mean()))


def assert_whole(reading: Reading) -> None:
    """Chunks follow each other without a gap, on the grid, with their tails and their clips inside."""
    chunks, known = reading.chunks, reading.known
    assert [chunk.index for chunk in chunks] == list(range(known.chunks))
    assert chunks[0].start == 0
    assert chunks[-1].end == known.duration
    assert all(before.end == after.start for before, after in pairwise(chunks))
    for chunk in chunks:
        assert all(time == round(time, 2) for time in (chunk.start, chunk.end, chunk.audio_end))
        assert chunk.audio_end == min(round(chunk.end + TAIL_SECONDS, 2), known.duration)
        assert len(decoded(chunk.flac)) == round((chunk.audio_end - chunk.start) * 16_000)
        assert all(chunk.start <= clip.start < clip.end <= chunk.end for clip in chunk.clips)
        assert all(a.end <= b.start for a, b in pairwise(chunk.clips))
    assert known.speech_seconds == pytest.approx(sum(end - start for start, end in reading.clips), abs=0.011)


@pytest.mark.parametrize("name", GOOD)
def test_good_recording_is_read_whole_and_in_time(name: str, made: Made, reader: MediaReader) -> None:
    reading = read(made(name), reader=reader)
    assert_whole(reading)
    assert reading.known.duration == pytest.approx(SECONDS, abs=0.03)
    assert len(reading.known.warnings) == (name == "two-tracks.mkv")
    late, likeness = delay(reading.sound(), recordings.speech()[0])
    assert abs(late) <= 0.03
    assert likeness > 0.9
    first = recordings.turns()[0]
    assert reading.clips[0][0] <= float(str(first["start"])) + 0.03  # one window of the detector
    assert reading.clips[0][1] >= float(str(first["end"])) - 0.03


@pytest.mark.parametrize("name", GOOD)
def test_voices_keep_their_level(name: str, made: Made, reader: MediaReader) -> None:
    heard = read(made(name), reader=reader).sound()
    for turn in recordings.turns()[: recordings.SENTENCES]:
        begin, end = (round(float(str(turn[side])) * 16_000) for side in ("start", "end"))
        assert loudness(heard[begin:end]) == pytest.approx(loudness(recordings.meeting()[0, begin:end]), abs=1.0)


def test_short_chunks_hold_the_same_sound_as_one_long_chunk(made: Made, reader: MediaReader) -> None:
    whole, parts = read(made("meeting.mp3"), reader=reader), read(made("meeting.mp3"), reader=reader, chunk_seconds=2)
    assert_whole(parts)
    assert len(parts.chunks) >= 3
    assert (whole.sound() == parts.sound()).all()
    assert parts.clips == whole.clips


def test_cuts_keep_out_of_speech(reader: MediaReader, tmp_path: Path) -> None:
    path = recordings.looped_meeting(tmp_path / "two-minutes.flac", 120)
    reading = read(path, reader=reader, chunk_seconds=10)
    assert_whole(reading)
    assert 9 <= len(reading.chunks) <= 15
    spoken = [(float(str(turn["start"])), float(str(turn["end"]))) for turn in recordings.turns()]
    for chunk in reading.chunks[:-1]:
        assert not any(start < chunk.end < end for start, end in spoken)


def test_chunks_leave_while_the_recording_is_still_being_read(reader: MediaReader, tmp_path: Path) -> None:
    path = recordings.looped_meeting(tmp_path / "four-minutes.flac", 240)
    positions: list[int] = []
    with path.open("rb") as source:
        reader.read(
            source,
            chunk_seconds=20,
            audio_track=None,
            deliver=lambda chunk: positions.append(source.tell()),
            progress=lambda fraction: None,
        )
    assert positions[0] < path.stat().st_size / 2


@pytest.mark.parametrize("name", ["meeting.mp4", "interview.wav", "scratched.mkv"])
def test_same_bytes_come_out_every_time(name: str, made: Made, reader: MediaReader) -> None:
    first, second = (read(made(name), reader=reader, chunk_seconds=3) for _ in range(2))
    assert first.chunks == second.chunks
    assert first.recording == second.recording


def test_progress_goes_from_nought_to_one(made: Made, reader: MediaReader) -> None:
    told = read(made("meeting.flac"), reader=reader).told
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert all(0 <= fraction <= 1 for fraction in told)


@pytest.mark.parametrize("name", SPEECHLESS)
def test_recording_without_speech_has_no_clips(name: str, made: Made, reader: MediaReader) -> None:
    reading = read(made(name), reader=reader)
    assert_whole(reading)
    assert reading.clips == []
    assert reading.known.speech_seconds == 0
    assert reading.known.warnings == ()


@pytest.mark.parametrize("name", HURT)
def test_damaged_recording_is_kept_as_far_as_it_goes(name: str, made: Made, reader: MediaReader) -> None:
    reading = read(made(name), reader=reader)
    assert_whole(reading)
    assert any(start <= 1.0 and end >= 1.8 for start, end in reading.clips)
    (warning,) = reading.known.warnings
    assert ("breaks off" in warning) == name.startswith("cut")


@pytest.mark.parametrize("name", BAD)
def test_unreadable_file_is_refused_with_a_sentence(name: str, made: Made, reader: MediaReader) -> None:
    delivered: list[object] = []
    with made(name).open("rb") as source, pytest.raises(Permanent) as refusal:
        reader.read(source, chunk_seconds=300, audio_track=None, deliver=delivered.append, progress=lambda _: None)
    assert BAD_PHRASES[name] in str(refusal.value)
    assert str(refusal.value).endswith(".")
    assert delivered == []


def test_chosen_track_is_heard(made: Made, reader: MediaReader) -> None:
    reading = read(made("two-tracks.mkv"), reader=reader, audio_track=1)
    late, likeness = delay(reading.sound(), recordings.speech(60.0)[0])
    assert abs(late) <= 0.03
    assert likeness > 0.9
    assert reading.known.audio_track == 1
    assert [(track.kind, track.language) for track in reading.known.tracks] == [("audio", "eng"), ("audio", "deu")]


@pytest.mark.parametrize(("name", "track"), [("two-tracks.mkv", 2), ("meeting.wav", 1), ("meeting.wav", -1)])
def test_missing_track_is_refused(name: str, track: int, made: Made, reader: MediaReader) -> None:
    with pytest.raises(Permanent, match=f"no audio track {track}"):
        read(made(name), reader=reader, audio_track=track)


def test_late_sound_keeps_its_place(made: Made, reader: MediaReader) -> None:
    reading = read(made("late.mp4"), reader=reader)
    assert_whole(reading)
    late, _ = delay(reading.sound(), recordings.speech()[0])
    assert late == pytest.approx(1.5, abs=0.03)


def test_antiphase_stereo_is_still_heard(reader: MediaReader, tmp_path: Path) -> None:
    mono = recordings.speech()
    path = write(tmp_path / "miswired.wav", [numpy.concatenate([mono, -mono])], "pcm_s16le")
    heard = read(path, reader=reader).sound()
    assert loudness(heard) == pytest.approx(loudness(mono[0]), abs=0.5)


def test_long_silence_makes_few_chunks_and_one_sentence_is_found(reader: MediaReader, tmp_path: Path) -> None:
    path = sparse_speech(tmp_path / "half-an-hour.flac", 0.5, 1)
    reading = read(path, reader=reader, chunk_seconds=20)
    assert_whole(reading)
    assert len(reading.chunks) <= 6
    ((begin, _),) = sparse_sentences(0.5, 1)
    assert reading.clips[0][0] == pytest.approx(begin, abs=0.15)
    assert all(begin - 0.15 <= start < begin + 3 for start, _ in reading.clips)
    assert sum(bool(chunk.clips) for chunk in reading.chunks) == 1


def test_peaks_draw_the_sound(reader: MediaReader, tmp_path: Path) -> None:
    wave = numpy.zeros((1, 32_000), numpy.int16)
    wave[0, 8_000] = -32_768
    wave[0, 24_000] = 16_384
    known = read(write(tmp_path / "two-clicks.wav", [wave], "pcm_s16le"), reader=reader).known
    assert len(known.peaks) == round(known.duration * known.peaks_per_second)
    assert {place: peak for place, peak in enumerate(known.peaks) if peak} == {5: 255, 15: 128}


class FailingStore(BytesIO):
    """A source whose store goes away after some bytes."""

    def __init__(self, data: bytes, good: int) -> None:
        super().__init__(data)
        self.good = good

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self.good:
            raise Retryable("The object store is away.")
        return super().read(min(size, self.good - self.tell()) if size and size > 0 else size)

    def seek(self, offset: int, whence: int = SEEK_SET, /) -> int:
        return super().seek(offset, whence)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
@pytest.mark.parametrize("name", ["meeting.flac", "meeting.mkv", "meeting.mp4", "cover.mp3"])
def test_store_that_goes_away_is_no_truncated_recording(name: str, share: float, made: Made, reader: MediaReader) -> None:
    data = made(name).read_bytes()
    with pytest.raises(Retryable, match="away"):
        read(FailingStore(data, int(len(data) * share)), reader=reader)


def test_source_is_left_open(made: Made, reader: MediaReader) -> None:
    with made("meeting.mp4").open("rb") as source:
        reader.read(source, chunk_seconds=300, audio_track=None, deliver=lambda _: None, progress=lambda _: None)
        assert not source.closed


def test_deliver_that_fails_stops_the_reading(made: Made, reader: MediaReader) -> None:
    def refuse(_: object) -> None:
        raise Retryable("The disk is full.")

    with made("meeting.mp3").open("rb") as source, pytest.raises(Retryable, match="full"):
        reader.read(source, chunk_seconds=2, audio_track=None, deliver=refuse, progress=lambda _: None)
