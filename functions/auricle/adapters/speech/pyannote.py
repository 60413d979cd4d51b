"""Telling voices apart with a pyannote.audio 4 pipeline folder (community-1 and its like), cut in two halves.

The pipeline slides a window over the recording; segmentation and embeddings of one window depend on nothing else. So a
chunk is given the windows that begin inside it, and only the clustering, over all windows at once, has to wait for all
chunks. The result equals the pipeline's own run over the whole file.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

from auricle.adapters.speech.batches import Batches, FixedBatches
from auricle.adapters.speech.evidence import Arrays, pack, unpack
from auricle.adapters.speech.thinning import thinned
from auricle.errors import Invalid, Permanent
from auricle.ports.media import SAMPLE_RATE, TAIL_SECONDS, Clip
from auricle.ports.speech import Samples, Span, SpeakerHints, Turn, Voices

DIRECT_WINDOWS = 8_000
"""Window embeddings that are clustered in one go. pyannote's linkage takes n²/2 doubles: 256 MB, two hours of talk."""
SEGMENTATION_SHARE = 0.3
"""How much of listening is segmentation, for the progress bar; embeddings are the rest."""

Floats = NDArray[numpy.float32]


class Window(NamedTuple):
    """The pipeline's sliding window, in samples."""

    size: int
    step: int

    def beginning_in(self, start: int, end: int, audio_end: int) -> range:
        """Numbers of the windows that begin in `start` … `end` and exist when the recording ends at `audio_end` or later."""
        whole = (audio_end - self.size) // self.step + 1 if audio_end >= self.size else 0
        padded = int(audio_end < self.size or (audio_end - self.size) % self.step > 0)
        return range(math.ceil(start / self.step), min(math.ceil(end / self.step), whole + padded))


class PyannoteVoices:
    """A `Diarizer` over one pipeline folder: `config.yaml`, `segmentation/`, `embedding/`, `plda/`."""

    def __init__(
        self,
        model_dir: Path,
        *,
        device: str = "cpu",
        threads: int = 0,
        segmentation_batches: Batches | None = None,
        embedding_batches: Batches | None = None,
        direct_windows: int = DIRECT_WINDOWS,
    ) -> None:
        """Load the pipeline (imports torch: seconds). `device` cpu | cuda; `threads` 0 leaves torch its default.

        Raises `Permanent` when `model_dir` holds no pipeline or its windows are longer than the tail of a chunk.
        """
        if not (model_dir / "config.yaml").is_file():
            raise Permanent(
                f"The folder of the voice model {model_dir.name} lacks config.yaml: "
                f"run `auricle models verify {model_dir.name}` and pull it again."
            )
        self._kind = f"pyannote/1 {model_dir.name}"
        self._pipeline: Any = _load(model_dir, device, threads)
        inference = self._pipeline._segmentation
        self._window = Window(round(inference.duration * SAMPLE_RATE), round(inference.step * SAMPLE_RATE))
        if self._window.size > TAIL_SECONDS * SAMPLE_RATE:
            raise Permanent(
                f"The model {model_dir.name} hears {inference.duration:g} seconds at once, "
                f"but chunks go on for {TAIL_SECONDS:g}: choose a model with shorter windows."
            )
        self._seconds = (float(inference.duration), float(inference.step))
        self._segmentation_batches = segmentation_batches or FixedBatches(16)
        self._embedding_batches = embedding_batches or FixedBatches(16)
        self._pipeline.clustering.filter_embeddings = partial(
            _bounded, self._pipeline.clustering.filter_embeddings, limit=direct_windows
        )

    def listen(self, audio: Samples, span: Span, clips: Sequence[Clip], progress: Callable[[float], None]) -> bytes:
        """Segmentation and embeddings of the windows that begin inside the span. `clips` are not needed."""
        start, end = round(span.start * SAMPLE_RATE), round(span.end * SAMPLE_RATE)
        windows = self._window.beginning_in(start, end, start + len(audio))
        progress(0.0)
        if not windows:
            progress(1.0)
            return pack(self._kind, {"first": numpy.array(0), "count": numpy.array(0)})
        first = windows.start * self._window.step - start
        last = first + (len(windows) - 1) * self._window.step + self._window.size
        segmentations, embeddings = self._hear(audio[first:last], progress)
        progress(1.0)
        return pack(
            self._kind,
            {
                "first": numpy.array(windows.start),
                "count": numpy.array(len(windows)),
                "embeddings": embeddings,
                **_packed(segmentations),
            },
        )

    def cluster(self, evidence: Sequence[bytes], hints: SpeakerHints) -> Voices:
        """The pipeline's own counting, clustering and reconstruction over all windows; missing chunks were silent."""
        if (hints.min_speakers or 0) > (hints.max_speakers or math.inf) and not hints.num_speakers:
            raise Invalid("The smallest number of speakers is above the largest: correct one of them.")
        heard = [found for found in (unpack(self._kind, data) for data in evidence) if int(found["count"]) > 0]
        if not heard:
            return Voices(turns=(), exclusive=(), embeddings=())
        import torch
        from pyannote.core import SlidingWindow, SlidingWindowFeature

        segmentations, embeddings = _joined(heard)
        duration, step = self._seconds
        windows = SlidingWindowFeature(segmentations, SlidingWindow(start=0.0, duration=duration, step=step))
        replay: Any = copy.copy(self._pipeline)
        replay.get_segmentations = lambda file, hook=None: windows
        replay.get_embeddings = lambda file, binary, exclude_overlap=False, hook=None: embeddings
        replay.reconstruct = partial(_reconstruct, replay)
        replay.legacy = False
        output = replay(
            {"waveform": torch.zeros(1, SAMPLE_RATE), "sample_rate": SAMPLE_RATE, "uri": "recording"},
            num_speakers=hints.num_speakers,
            min_speakers=hints.min_speakers,
            max_speakers=hints.max_speakers,
        )
        return _voices(output)

    def _hear(self, audio: Samples, progress: Callable[[float], None]) -> tuple[Floats, Floats]:
        """Segmentations (windows, frames, local speakers) and embeddings (windows, local speakers, d)."""
        import torch
        from pyannote.audio.utils.signal import binarize

        pipeline = self._pipeline
        waveform = torch.from_numpy(numpy.array(audio, dtype=numpy.float32))[None]
        file = {"waveform": waveform, "sample_rate": SAMPLE_RATE, "uri": "chunk"}

        def tell(done: float, share: float, completed: Any, total: Any) -> None:
            # `completed` counts whole batches and may run past `total`.
            progress(done + share * min(1.0, float(completed or 0) / max(1.0, float(total or 1))))

        def segment(size: int) -> Any:
            pipeline.segmentation_batch_size = size
            return pipeline.get_segmentations(
                file, hook=lambda *_, completed=0, total=1, **__: tell(0.0, SEGMENTATION_SHARE, completed, total)
            )

        segmentations = self._segmentation_batches.attempt(segment)
        binary = segmentations
        if not pipeline._segmentation.model.specifications.powerset:
            binary = binarize(segmentations, onset=pipeline.segmentation.threshold, initial_state=False)

        def embed(size: int) -> Any:
            pipeline.embedding_batch_size = size
            return pipeline.get_embeddings(
                file,
                binary,
                exclude_overlap=pipeline.embedding_exclude_overlap,
                hook=lambda *_, completed=0, total=1, **__: tell(
                    SEGMENTATION_SHARE, 1.0 - SEGMENTATION_SHARE, completed, total
                ),
            )

        embeddings = self._embedding_batches.attempt(embed)
        return segmentations.data.astype(numpy.float32), embeddings.astype(numpy.float32)


def _load(model_dir: Path, device: str, threads: int) -> Any:
    """The pipeline, told to send nothing anywhere. The variables must be there before the first import."""
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from pyannote.audio import Pipeline
    from pyannote.audio.telemetry import set_telemetry_metrics

    set_telemetry_metrics(False)  # somebody may have imported pyannote before us
    if threads > 0:
        torch.set_num_threads(threads)
    pipeline: Any = Pipeline.from_pretrained(str(model_dir))
    if pipeline is None:
        raise Permanent(f"The folder of the voice model {model_dir.name} is no pyannote.audio pipeline: pull it again.")
    return pipeline.to(torch.device(device))


def _packed(segmentations: Floats) -> Arrays:
    """Yes-or-no segmentations as bits, others as they are."""
    if bool(numpy.isin(segmentations, (0.0, 1.0)).all()):
        return {"shape": numpy.array(segmentations.shape), "bits": numpy.packbits(segmentations.astype(bool))}
    return {"shape": numpy.array(segmentations.shape), "scores": segmentations}


def _unpacked(heard: Arrays) -> Floats:
    shape = tuple(int(n) for n in heard["shape"])
    if "bits" not in heard:
        return heard["scores"].astype(numpy.float32)
    bits = numpy.unpackbits(heard["bits"].astype(numpy.uint8), count=math.prod(shape))
    return bits.reshape(shape).astype(numpy.float32)


def _joined(heard: Iterable[Arrays]) -> tuple[Floats, Floats]:
    """All chunks on the recording's own grid of windows.

    Windows that nobody sent are NaN, unknown: pyannote leaves them out where windows are averaged. Were they silent, the
    beginning of the next chunk, which they reach into, would lose its voice.
    """
    parts = [(int(part["first"]), _unpacked(part), part["embeddings"].astype(numpy.float32)) for part in heard]
    windows = max(first + len(segmentations) for first, segmentations, _ in parts)
    segmentations = numpy.full((windows, *parts[0][1].shape[1:]), numpy.nan, numpy.float32)
    embeddings = numpy.full((windows, *parts[0][2].shape[1:]), numpy.nan, numpy.float32)
    for first, part_segmentations, part_embeddings in parts:
        segmentations[first : first + len(part_segmentations)] = part_segmentations
        embeddings[first : first + len(part_embeddings)] = part_embeddings
    return segmentations, embeddings


def _bounded(filter_embeddings: Callable[..., Any], *args: Any, limit: int, **kwargs: Any) -> Any:
    """pyannote's choice of the embeddings that make the clusters, thinned above `limit`."""
    embeddings, windows, speakers = filter_embeddings(*args, **kwargs)
    kept = thinned(embeddings, limit)
    return embeddings[kept], windows[kept], speakers[kept]


def _reconstruct(pipeline: Any, segmentations: Any, hard_clusters: Any, count: Any) -> Any:
    """`SpeakerDiarization.reconstruct` window by window.

    The original first builds (windows, frames, speakers) in double precision: a gigabyte for twelve hours and five people.
    """
    from pyannote.core import SlidingWindow, SlidingWindowFeature

    windows = segmentations.sliding_window
    frames = SlidingWindow(start=windows.start, duration=count.sliding_window.duration, step=count.sliding_window.step)
    number, length, _ = segmentations.data.shape
    end = windows.start + windows.duration + (number - 1) * windows.step
    total = frames.closest_frame(end + 0.5 * frames.duration) + 1
    activations = numpy.zeros((total, int(hard_clusters.max()) + 1), numpy.float32)
    for clusters, (segment, scores) in zip(hard_clusters, segmentations, strict=True):
        first = frames.closest_frame(segment.start + 0.5 * frames.duration)
        for cluster in numpy.unique(clusters[clusters >= 0]):
            activations[first : first + length, cluster] += numpy.nan_to_num(scores[:, clusters == cluster].max(axis=1))
    whole = SlidingWindow(start=windows.start, duration=(total - 1) * frames.step, step=total * frames.step)
    return pipeline.to_diarization(SlidingWindowFeature(activations[None], whole), count)


def _voices(output: Any) -> Voices:
    """Port values of pyannote's output; speakers numbered as they first appear."""
    embeddings: dict[str, Any] = {}
    if output.speaker_embeddings is not None:
        embeddings = dict(zip(output.speaker_diarization.labels(), output.speaker_embeddings, strict=False))
    turns = _heard_turns(output.speaker_diarization)
    exclusive = _heard_turns(output.exclusive_speaker_diarization)
    order: dict[str, int] = {}
    for _, _, label in sorted(turns) + sorted(exclusive):
        order.setdefault(label, len(order))
    return Voices(
        turns=tuple(Turn(start, end, order[label]) for start, end, label in turns),
        exclusive=tuple(_without_overlap(Turn(start, end, order[label]) for start, end, label in exclusive)),
        embeddings=tuple(_unit(embeddings.get(label)) for label in order),
    )


def _heard_turns(annotation: Any) -> list[tuple[float, float, str]]:
    tracks = annotation.itertracks(yield_label=True)
    return sorted((round(float(turn.start), 3), round(float(turn.end), 3), str(label)) for turn, _, label in tracks)


def _without_overlap(turns: Iterable[Turn]) -> Iterable[Turn]:
    """Turns that begin no earlier than the one before ends: filled pauses may make them touch."""
    clock = 0.0
    for turn in turns:
        start = max(turn.start, clock)
        if start < turn.end:
            clock = turn.end
            yield Turn(start, turn.end, turn.speaker)


def _unit(voice: Any) -> tuple[float, ...]:
    """A voice of unit length; one that pyannote could not embed is all zeros."""
    if voice is None:
        return ()
    vector = numpy.nan_to_num(numpy.asarray(voice, dtype=numpy.float64))
    return tuple(map(float, vector / max(float(numpy.linalg.norm(vector)), 1e-12)))
