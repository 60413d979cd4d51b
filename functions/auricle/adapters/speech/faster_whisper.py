"""Whisper models through faster-whisper and CTranslate2: any model directory, on CPU or CUDA, without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy

from auricle.adapters.speech.batches import Batches, FixedBatches
from auricle.adapters.speech.windows import windows_of
from auricle.errors import Invalid, Permanent
from auricle.ports.media import SAMPLE_RATE, Clip
from auricle.ports.speech import Passage, Samples, Transcription, TranscriptionOptions, Word

WINDOW_SECONDS = 30.0
"""Every Whisper hears exactly this much at once (3000 mel frames); longer windows would lose their end."""
PROMPT_TOKENS = 220
"""Room for hotwords and prompt together: Whisper's context is 448 tokens, half of it is for what it writes."""
UNDETERMINED = "und"
"""BCP-47's word for a language that nobody knows: nothing was said."""


class Decoding(msgspec.Struct, frozen=True, kw_only=True):
    """How one Whisper model wants to be run; per model in models.toml."""

    beam_size: int = 5
    """Candidates kept while decoding: 1 is greedy and fastest."""
    window_seconds: float = WINDOW_SECONDS
    """Longest stretch heard at once."""
    bridge_seconds: float = -1.0
    """Neighbouring clips share a window when the pause between them is at most this long; negative: one clip per window."""


class FasterWhisper:
    """A `Transcriber` over one CTranslate2 Whisper directory. Safe to share between threads."""

    def __init__(
        self,
        model_dir: Path,
        *,
        device: str = "cpu",
        compute_type: str = "default",
        threads: int = 0,
        decoding: Decoding | None = None,
        batches: Batches | None = None,
    ) -> None:
        """Load the weights. `device` cpu | cuda; `compute_type` as CTranslate2 names them; `threads` 0 takes its default.

        Raises `Permanent` when `model_dir` holds no Whisper model.
        """
        missing = [name for name in ("model.bin", "config.json", "tokenizer.json") if not (model_dir / name).is_file()]
        if missing:
            raise Permanent(
                f"The folder of the speech model {model_dir.name} lacks {', '.join(missing)}: "
                f"run `auricle models verify {model_dir.name}` and pull it again."
            )
        from faster_whisper import WhisperModel

        self.name = model_dir.name
        self._model: Any = WhisperModel(str(model_dir), device=device, compute_type=compute_type, cpu_threads=threads)
        self._decoding = decoding or Decoding()
        self._batches = batches or FixedBatches(4)

    @property
    def languages(self) -> tuple[str, ...]:
        """BCP-47 primary tags of the languages that the model knows."""
        return tuple(self._model.supported_languages)

    def transcribe(
        self,
        audio: Samples,
        offset: float,
        clips: Sequence[Clip],
        options: TranscriptionOptions,
        progress: Callable[[float], None],
    ) -> Transcription:
        """Hear the clips in batches of windows. `Invalid` when the wished language is not one of the model's."""
        wished = self._wished_language(options.language)
        end = offset + len(audio) / SAMPLE_RATE
        longest = min(self._decoding.window_seconds, WINDOW_SECONDS)
        windows = windows_of(clips, offset, end, longest, self._decoding.bridge_seconds)
        language, probability = self._language(wished, audio, offset, windows)
        hotwords, prompt = self._prompts(options)
        passages: list[Passage] = []
        total = sum(w.end - w.start for w in windows)
        heard = 0.0
        progress(0.0)
        while len(windows) > 0:

            def hear(size: int, windows: Sequence[Clip] = windows) -> tuple[Sequence[Clip], list[Any]]:
                batch = windows[:size]
                return batch, self._hear(audio, offset, batch, language, hotwords, prompt)

            batch, segments = self._batches.attempt(hear)
            passages.extend(_passages(segments, batch, offset))
            windows = windows[len(batch) :]
            heard += sum(w.end - w.start for w in batch)
            progress(heard / total)
        progress(1.0)
        return Transcription(language=language, language_probability=probability, passages=tuple(passages))

    def _hear(
        self, audio: Samples, offset: float, windows: Sequence[Clip], language: str, hotwords: str | None, prompt: str | None
    ) -> list[Any]:
        """faster-whisper's segments of one batch, in times of `audio`."""
        from faster_whisper import BatchedInferencePipeline

        # A pipeline of its own per batch: it remembers where the last speech ended, and threads share the model.
        pipeline = BatchedInferencePipeline(self._model)
        segments, _ = pipeline.transcribe(
            audio,
            language=None if language == UNDETERMINED else language,
            beam_size=self._decoding.beam_size,
            temperature=0.0,
            initial_prompt=prompt,
            hotwords=hotwords,
            without_timestamps=True,  # in batches, text after the last timestamp token would be lost
            word_timestamps=True,
            vad_filter=False,
            clip_timestamps=[{"start": max(0.0, w.start - offset), "end": w.end - offset} for w in windows],
            batch_size=len(windows),
        )
        return list(segments)

    def _wished_language(self, language: str | None) -> str | None:
        """The model's own code for a BCP-47 tag: `en-GB` is `en`."""
        if not language:
            return None
        primary = language.replace("_", "-").split("-")[0].lower()
        if primary not in self.languages:
            known = ", ".join(self.languages[:12]) + (", …" if len(self.languages) > 12 else "")
            raise Invalid(
                f"The model {self.name} does not know the language “{language}”. It knows {known}: "
                "choose another model, or leave the language empty."
            )
        return primary

    def _language(self, wished: str | None, audio: Samples, offset: float, windows: Sequence[Clip]) -> tuple[str, float]:
        """What is spoken, and how sure that is: wished, the only one, or detected in the first half minute of speech."""
        if wished:
            return wished, 1.0
        if not self._model.model.is_multilingual:
            return "en", 1.0
        if not windows:
            return UNDETERMINED, 0.0
        speech = numpy.concatenate(list(islice(_pieces(audio, offset, windows), 8)))[: int(WINDOW_SECONDS * SAMPLE_RATE)]
        language, probability, _ = self._model.detect_language(audio=speech)
        return str(language), round(float(probability), 4)

    def _prompts(self, options: TranscriptionOptions) -> tuple[str | None, str | None]:
        """Hotwords and initial prompt, cut to what fits beside the text: the words' beginning, the prompt's end."""
        tokenizer = self._model.hf_tokenizer
        words = tokenizer.encode((options.hotwords or "").strip(), add_special_tokens=False).ids
        prompt = tokenizer.encode((options.initial_prompt or "").strip(), add_special_tokens=False).ids
        if len(words) + len(prompt) <= PROMPT_TOKENS:
            return (options.hotwords or "").strip() or None, (options.initial_prompt or "").strip() or None
        words = words[: PROMPT_TOKENS // 2] if prompt else words[:PROMPT_TOKENS]
        prompt = prompt[-(PROMPT_TOKENS - len(words)) :] if prompt else []
        return tokenizer.decode(words).strip() or None, tokenizer.decode(prompt).strip() or None


def _pieces(audio: Samples, offset: float, windows: Iterable[Clip]) -> Iterator[Samples]:
    for window in windows:
        yield audio[max(0, round((window.start - offset) * SAMPLE_RATE)) : round((window.end - offset) * SAMPLE_RATE)]


def _passages(segments: Sequence[Any], windows: Sequence[Clip], offset: float) -> Iterator[Passage]:
    """Port values of faster-whisper's segments; each segment is clamped into the window that it was heard in."""
    for segment in segments:
        text = segment.text.strip()
        # `seek` is the window's beginning in hundredths of a second; times may run out of the window, it cannot.
        window = min(windows, key=lambda w: abs(w.start - offset - segment.seek / 100))
        words = tuple(_words(segment.words or (), window, offset))
        if text and words:
            yield Passage(words[0].start, words[-1].end, text, words)


def _words(words: Iterable[Any], window: Clip, offset: float) -> Iterator[Word]:
    """Words in time order inside their window: alignment may step back or run over when it lost the thread."""
    earliest = window.start
    for heard in words:
        text = heard.word.strip()
        if not text:
            continue
        start = min(max(round(float(heard.start) + offset, 3), earliest), window.end)
        end = min(max(round(float(heard.end) + offset, 3), start), window.end)
        earliest = end
        yield Word(text, start, end, round(min(max(float(heard.probability), 0.0), 1.0), 4))
