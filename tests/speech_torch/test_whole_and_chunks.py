"""The real pyannote.audio, whole and in chunks: the same segmentation, the same embeddings, the same turns."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy
import pytest

from auricle.adapters.speech import pyannote as adapter
from auricle.adapters.speech.evidence import pack, unpack
from auricle.adapters.speech.pyannote import PyannoteVoices
from auricle.ports.media import SAMPLE_RATE, TAIL_SECONDS
from auricle.ports.speech import Span, SpeakerHints, Voices
from auricle_gpu.models import DEMO
from builders.conversations import meeting

pytestmark = [pytest.mark.torch, pytest.mark.timeout(400)]
pytest.importorskip("pyannote.audio", reason="the gpu extra is not installed (make test-speech)")

SECONDS = 60.0
CUTS = (0.0, 13.47, 21.0, 44.23, SECONDS)
AUDIO = meeting.samples()[: int(SECONDS * SAMPLE_RATE)]


@pytest.fixture(scope="module")
def voices() -> PyannoteVoices:
    return PyannoteVoices(DEMO / "pyannote-demo", threads=2)


@pytest.fixture(scope="module")
def file() -> dict[str, Any]:
    import torch

    return {"waveform": torch.from_numpy(AUDIO.copy())[None], "sample_rate": SAMPLE_RATE, "uri": "meeting"}


@pytest.fixture(scope="module")
def heard_whole(voices: PyannoteVoices, file: dict[str, Any]) -> tuple[Any, Any]:
    """pyannote's own segmentation and embeddings of the whole file."""
    pipeline = voices._pipeline
    pipeline.segmentation_batch_size = pipeline.embedding_batch_size = 16
    segmentations = pipeline.get_segmentations(file)
    return segmentations, pipeline.get_embeddings(file, segmentations, exclude_overlap=pipeline.embedding_exclude_overlap)


@pytest.fixture(scope="module")
def evidence(voices: PyannoteVoices) -> list[bytes]:
    found: list[bytes] = []
    for number, (start, end) in enumerate(pairwise(CUTS)):
        tail = min(end + TAIL_SECONDS, SECONDS)
        audio = AUDIO[round(start * SAMPLE_RATE) : round(tail * SAMPLE_RATE)]
        found.append(voices.listen(audio, Span(number, start, end, tail), (), lambda _: None))
    return found


def own_run(voices: PyannoteVoices, file: dict[str, Any], heard: tuple[Any, Any], **hints: int) -> Voices:
    """pyannote's own run over the whole file, with its own reconstruction."""
    import copy

    pipeline = copy.copy(voices._pipeline)
    pipeline.get_segmentations = lambda *_, **__: heard[0]
    pipeline.get_embeddings = lambda *_, **__: heard[1]
    return adapter._voices(pipeline(file, **hints))


def test_every_window_is_heard_once_and_as_in_the_whole_file(
    voices: PyannoteVoices, heard_whole: tuple[Any, Any], evidence: list[bytes]
) -> None:
    segmentations, embeddings = adapter._joined([unpack(voices._kind, part) for part in evidence])
    assert numpy.array_equal(segmentations, heard_whole[0].data)
    assert numpy.array_equal(numpy.isnan(embeddings), numpy.isnan(heard_whole[1]))
    assert numpy.nanmax(numpy.abs(embeddings - heard_whole[1])) < 1e-4  # batches are cut elsewhere: the last bits differ


@pytest.mark.parametrize(
    ("hints", "wishes"),
    [
        (SpeakerHints(), {}),
        (SpeakerHints(num_speakers=3), {"num_speakers": 3}),
        (SpeakerHints(min_speakers=3, max_speakers=5), {"min_speakers": 3, "max_speakers": 5}),
    ],
)
def test_chunks_give_exactly_the_turns_of_the_whole_file(
    voices: PyannoteVoices,
    file: dict[str, Any],
    heard_whole: tuple[Any, Any],
    evidence: list[bytes],
    hints: SpeakerHints,
    wishes: dict[str, int],
) -> None:
    whole, chunked = own_run(voices, file, heard_whole, **wishes), voices.cluster(evidence[::-1], hints)
    assert len(whole.turns) > 20
    assert chunked.turns == whole.turns
    assert chunked.exclusive == whole.exclusive
    assert numpy.allclose(chunked.embeddings, whole.embeddings, atol=1e-4)


def test_the_untouched_pipeline_says_the_same(voices: PyannoteVoices, file: dict[str, Any], evidence: list[bytes]) -> None:
    from pyannote.audio import Pipeline

    pipeline: Any = Pipeline.from_pretrained(str(DEMO / "pyannote-demo"))
    assert adapter._voices(pipeline(file)).turns == voices.cluster(evidence, SpeakerHints()).turns


def test_overlapping_turns_stay_overlapping(voices: PyannoteVoices, heard_whole: tuple[Any, Any]) -> None:
    _, frames, local = heard_whole[0].data.shape
    segmentations = numpy.zeros((60, frames, local), numpy.float32)
    segmentations[:40, :, 0] = segmentations[20:, :, 1] = 1.0  # two people, both at once in the middle third
    embeddings = numpy.zeros((60, local, 64), numpy.float32)
    embeddings[:, 0, 0] = embeddings[:, 1, 1] = embeddings[:, 2, 2] = 1.0
    talk = {"first": numpy.array(0), "count": numpy.array(60), "embeddings": embeddings}
    found = voices.cluster([pack(voices._kind, {**talk, **adapter._packed(segmentations)})], SpeakerHints())
    first, second = found.turns
    assert (first.speaker, second.speaker) == (0, 1)
    assert second.start < first.end - 5.0
    assert not any(a.end > b.start for a, b in pairwise(found.exclusive))
    assert {turn.speaker for turn in found.exclusive} == {0, 1}


def test_a_chunk_whose_neighbour_was_skipped_keeps_its_beginning(voices: PyannoteVoices, evidence: list[bytes]) -> None:
    found = voices.cluster(evidence[1:], SpeakerHints())
    spoken = next(turn for turn in meeting.truth()["turns"] if turn["start"] > CUTS[1])
    assert abs(found.turns[0].start - spoken["start"]) < 0.5


def test_reconstruction_window_by_window_is_pyannotes_own(voices: PyannoteVoices, heard_whole: tuple[Any, Any]) -> None:
    pipeline, segmentations = voices._pipeline, heard_whole[0]
    count = pipeline.speaker_count(segmentations, pipeline._segmentation.model.receptive_field, warm_up=(0.0, 0.0))
    count.data = count.data.astype(numpy.int8)
    clusters = numpy.random.default_rng(1).integers(-1, 4, size=segmentations.data.shape[::2])
    clusters[clusters == -1] = -2
    ours = adapter._reconstruct(pipeline, segmentations, clusters, count)
    theirs = pipeline.reconstruct(segmentations, clusters, count)
    assert numpy.array_equal(ours.data, theirs.data)
    assert ours.sliding_window.step == theirs.sliding_window.step


def test_very_long_recordings_are_clustered_from_fewer_windows(
    voices: PyannoteVoices, evidence: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    clustering = voices._pipeline.clustering
    everything = clustering.filter_embeddings.args[0]

    def counted(*args: Any, **kwargs: Any) -> Any:
        found = adapter._bounded(everything, *args, limit=60, **kwargs)
        seen.append(len(found[0]))
        return found

    monkeypatch.setattr(clustering, "filter_embeddings", partial(counted))
    found = voices.cluster(evidence, SpeakerHints(num_speakers=3))
    assert seen == [60]
    assert len(found.embeddings) == 3
