"""Telling voices apart without torch: one ONNX speaker embedding per stretch of speech, clustered by cosine distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy
from numpy.typing import NDArray

from auricle.adapters.speech.clustering import Labels, Tree, Vectors, average_linkage, condensed
from auricle.adapters.speech.evidence import pack, unpack
from auricle.adapters.speech.windows import pieces_of
from auricle.errors import Permanent
from auricle.ports.media import SAMPLE_RATE, Clip
from auricle.ports.speech import Samples, Span, SpeakerHints, Turn, Voices

SHORTEST = 0.05
"""Seconds. A shorter remnant of a clip tells nothing of a voice."""
TOUCHING = 0.02
"""Seconds. Clips closer than this were one stretch of speech, cut by its length: nothing is trimmed between them."""


class VoiceRules(msgspec.Struct, frozen=True, kw_only=True):
    """How one embedding model's voices are told apart; per model in models.toml. Measured on synthetic conversations."""

    threshold: float = 0.28
    """Average cosine distance up to which two voices are one person."""
    repeat_seconds: float = 1.0
    """Shorter clips are repeated up to this length before they are embedded."""
    longest_seconds: float = 10.0
    """Longer clips are embedded in equal pieces."""
    sure_seconds: float = 1.2
    """Clips of at least this length make the clusters, shorter ones join the nearest."""
    crumb_seconds: float = 2.0
    """A cluster with less speech than this is no speaker…"""
    crumb_share: float = 0.02
    """…nor is one with less than this share of all speech…"""
    crumb_most_seconds: float = 10.0
    """…as long as it holds less than this: in twelve hours, two percent is somebody."""
    trim_seconds: float = 0.05
    """Cut off both ends of a turn: clips are padded for the transcriber, voices do not need it."""
    direct_clips: int = 20_000
    """Clips that are clustered in one go (3 s of work, 10 MB); with more, near-identical ones are joined in groups first."""


class OnnxVoices:
    """A `Diarizer` over one ONNX model: input `waveform` (batch, samples) at 16 kHz, output (batch, dimension).

    Its `turns` never overlap, so they are its `exclusive` turns as well. Safe to share between threads.
    """

    def __init__(self, model_dir: Path, *, threads: int = 1, device: str = "cpu", rules: VoiceRules | None = None) -> None:
        """Load the one `.onnx` file of `model_dir`; raises `Permanent` when there is none. `threads` 0 takes all cores."""
        models = sorted(model_dir.glob("*.onnx")) if model_dir.is_dir() else []
        if len(models) != 1:
            raise Permanent(
                f"The folder of the voice model {model_dir.name} must hold one .onnx file and holds {len(models)}: "
                f"run `auricle models verify {model_dir.name}` and pull it again."
            )
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        wished = ["CUDAExecutionProvider"] if device == "cuda" else []
        there = set(onnxruntime.get_available_providers())
        providers = [name for name in (*wished, "CPUExecutionProvider") if name in there]
        self._session: Any = onnxruntime.InferenceSession(str(models[0]), options, providers=providers)
        self._input = self._session.get_inputs()[0].name
        self._kind = f"onnx_voices/1 {model_dir.name}"
        self._rules = rules or VoiceRules()

    def listen(self, audio: Samples, span: Span, clips: Sequence[Clip], progress: Callable[[float], None]) -> bytes:
        """One embedding per clip of the chunk (64 floats for the demo model: 25 kB per five minutes)."""
        pieces = [
            piece
            for clip in sorted(clips, key=lambda c: (c.start, c.end))
            for piece in pieces_of(Clip(max(clip.start, span.start), min(clip.end, span.end)), self._rules.longest_seconds)
            if piece.end - piece.start >= SHORTEST
        ]
        heard: list[tuple[Clip, NDArray[numpy.float32]]] = []
        progress(0.0)
        for number, piece in enumerate(pieces, 1):
            voice = self._embed(audio[round((piece.start - span.start) * SAMPLE_RATE) :], piece.end - piece.start)
            if voice is not None:
                heard.append((piece, voice))
            progress(number / len(pieces))
        progress(1.0)
        return pack(
            self._kind,
            {
                "starts": numpy.array([piece.start for piece, _ in heard], dtype=numpy.float64),
                "ends": numpy.array([piece.end for piece, _ in heard], dtype=numpy.float64),
                "voices": numpy.array([voice for _, voice in heard], dtype=numpy.float32),
            },
        )

    def cluster(self, evidence: Sequence[bytes], hints: SpeakerHints) -> Voices:
        """Cluster every chunk's embeddings at once: cutting a recording into chunks changes nothing here."""
        chunks = [found for found in (unpack(self._kind, data) for data in evidence) if len(found["starts"])]
        if not chunks:
            return Voices(turns=(), exclusive=(), embeddings=())
        starts = numpy.concatenate([chunk["starts"] for chunk in chunks]).astype(numpy.float64)
        ends = numpy.concatenate([chunk["ends"] for chunk in chunks]).astype(numpy.float64)
        voices = numpy.concatenate([chunk["voices"] for chunk in chunks]).astype(numpy.float64)
        order = numpy.lexsort((ends, starts))
        starts, ends, voices = starts[order], ends[order], voices[order]
        speakers = speakers_of(voices, ends - starts, hints, self._rules)
        turns = tuple(turns_of(starts, ends, speakers, self._rules.trim_seconds))
        embeddings = _centroids(voices, ends - starts, speakers)
        return Voices(turns=turns, exclusive=turns, embeddings=tuple(tuple(map(float, row)) for row in embeddings))

    def _embed(self, audio: Samples, seconds: float) -> NDArray[numpy.float32] | None:
        """The unit-length voice of the first `seconds` of `audio`; None when the model hears nothing in it."""
        samples = audio[: round(seconds * SAMPLE_RATE)]
        least = round(self._rules.repeat_seconds * SAMPLE_RATE)
        if 0 < len(samples) < least:
            samples = numpy.resize(samples, least)  # repeats
        if len(samples) == 0:
            return None
        (voice,) = self._session.run(None, {self._input: samples[None].astype(numpy.float32)})[0]
        norm = float(numpy.linalg.norm(voice))
        return numpy.asarray(voice / norm, dtype=numpy.float32) if numpy.isfinite(norm) and norm > 0 else None


def speakers_of(voices: Vectors, seconds: Vectors, hints: SpeakerHints, rules: VoiceRules) -> Labels:
    """Which speaker each voice (n, d; unit length; in time order) belongs to, from 0 in order of first appearance."""
    sure = numpy.flatnonzero(seconds >= rules.sure_seconds)
    if len(sure) < 2:
        sure = numpy.sort(numpy.argsort(-seconds, kind="stable")[:2])
    if len(sure) > rules.direct_clips:
        means, counts, rows = condensed(voices[sure], rules.threshold / 2, max(2, rules.direct_clips // 8))
    else:
        means, counts, rows = voices[sure], numpy.ones(len(sure), dtype=numpy.int64), numpy.arange(len(sure))
    lengths = numpy.bincount(rows, weights=seconds[sure], minlength=len(means)).astype(numpy.float64)
    labels = _cut(average_linkage(means, counts), lengths, float(seconds.sum()), hints, rules)[rows]
    kept = numpy.unique(labels[labels >= 0])
    centroids = _centroids(voices[sure], seconds[sure], numpy.searchsorted(kept, labels), labels >= 0)
    speakers = numpy.argmax(voices @ centroids.T, axis=1)
    members = labels >= 0
    speakers[sure[members]] = numpy.searchsorted(kept, labels[members])
    order: dict[int, int] = {}
    return numpy.array([order.setdefault(int(speaker), len(order)) for speaker in speakers], dtype=numpy.int64)


def _cut(tree: Tree, lengths: Vectors, total: float, hints: SpeakerHints, rules: VoiceRules) -> Labels:
    """Labels of the tree's leaves, -1 for those in crumbs, with as many speakers as the hints allow."""
    crumb = min(max(rules.crumb_seconds, rules.crumb_share * total), rules.crumb_most_seconds)

    def without_crumbs(labels: Labels) -> Labels:
        speech = numpy.bincount(labels, weights=lengths)
        if not (speech >= crumb).any():
            return numpy.where(labels == int(numpy.argmax(speech)), 0, -1)
        return numpy.where(speech[labels] >= crumb, labels, -1)

    def count(labels: Labels) -> int:
        return len(numpy.unique(labels[labels >= 0]))

    found = without_crumbs(tree.below(rules.threshold))
    least = hints.num_speakers or hints.min_speakers or 1
    most = hints.num_speakers or hints.max_speakers or tree.leaves
    wanted = min(max(count(found), least), most)
    if wanted == count(found):
        return found
    for clusters in range(wanted, min(wanted + 24, tree.leaves) + 1):  # a few strange clips must not count as people
        labels = without_crumbs(tree.into(clusters))
        if count(labels) == wanted:
            return labels
    return tree.into(wanted)


def _centroids(voices: Vectors, seconds: Vectors, speakers: Labels, members: NDArray[numpy.bool_] | None = None) -> Vectors:
    """The unit-length average voice of every speaker, longer clips counting for more."""
    chosen = numpy.ones(len(voices), dtype=bool) if members is None else members
    sums = numpy.zeros((int(speakers[chosen].max()) + 1, voices.shape[1]))
    numpy.add.at(sums, speakers[chosen], voices[chosen] * seconds[chosen, None])
    unit: Vectors = sums / numpy.maximum(numpy.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return unit


def turns_of(starts: Vectors, ends: Vectors, speakers: Labels, trim: float) -> list[Turn]:
    """Turns of the clips, without their padding; pieces of one stretch of speech by one speaker are one turn."""
    turns: list[Turn] = []
    last = len(starts) - 1
    for i, speaker in enumerate(map(int, speakers)):
        start, end = float(starts[i]), float(ends[i])
        follows = i > 0 and start - float(ends[i - 1]) < TOUCHING
        goes_on = i < last and float(starts[i + 1]) - end < TOUCHING
        cut = min(trim, (end - start) / 4)
        start, end = (start if follows else start + cut), (end if goes_on else end - cut)
        if follows and turns and turns[-1].speaker == speaker:
            turns[-1] = Turn(turns[-1].start, round(end, 3), speaker)
        else:
            begin = max(round(start, 3), turns[-1].end) if turns else round(start, 3)
            turns.append(Turn(begin, max(round(end, 3), begin), speaker))
    return turns
