"""A Whisper model of 99 languages that knows none: random weights in the real shape, for what only such models do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ctranslate2
import numpy
from ctranslate2.specs import whisper_spec

DEMO_TOKENIZER = Path(__file__).parents[3] / "gpu-pool/auricle_gpu/demo/whisper-demo/tokenizer.json"
WIDTH, HEADS, MELS = 16, 2, 80
FRAMES, CONTEXT = 1500, 448
TIMESTAMPS = [f"<|{n * 0.02:.2f}|>" for n in range(1501)]
TASKS = ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
EMPTY = ""
"""CTranslate2 takes a Whisper for multilingual when its vocabulary has the empty token, as all real ones do."""


def make(folder: Path, seed: int = 0) -> Path:
    """A model directory in `folder`, 300 kB, made in a moment without torch."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    draw = numpy.random.default_rng(seed)
    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in _LANGUAGE_CODES), *TASKS, *TIMESTAMPS]
    tokenizer = json.loads(DEMO_TOKENIZER.read_text())
    text = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    tokenizer["model"]["vocab"] = {token: place for place, token in enumerate([*text, "unused"])}
    text.append(EMPTY)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer["added_tokens"] = [{"id": len(text) + n, "content": token, **flags} for n, token in enumerate(special)]

    spec = whisper_spec.WhisperSpec(1, HEADS, 1, HEADS)
    _fill(spec, len(text) + len(special), draw)
    spec.register_vocabulary([*text, *special])
    first = len(text) + 2
    spec.config.lang_ids = list(range(first, first + len(_LANGUAGE_CODES)))
    spec.config.alignment_heads = [(0, 0)]
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.validate()
    spec.optimize(quantization="int8")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def _fill(spec: Any, tokens: int, draw: numpy.random.Generator) -> None:
    """Small random weights everywhere."""

    def weights(*shape: int) -> numpy.ndarray[Any, Any]:
        return (draw.standard_normal(shape) * 0.1).astype(numpy.float32)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = numpy.ones(WIDTH, numpy.float32), numpy.zeros(WIDTH, numpy.float32)

    def linear(layer: Any, rows: int, columns: int) -> None:
        layer.weight, layer.bias = weights(rows, columns), weights(rows)

    def attention(layer: Any, *outputs: int) -> None:
        norm(layer.layer_norm)
        for part, rows in zip(layer.linear, outputs, strict=True):
            linear(part, rows, WIDTH)

    def feed_forward(layer: Any) -> None:
        norm(layer.layer_norm)
        linear(layer.linear_0, WIDTH, WIDTH)
        linear(layer.linear_1, WIDTH, WIDTH)

    for convolution, inputs in ((spec.encoder.conv1, MELS), (spec.encoder.conv2, WIDTH)):
        convolution.weight, convolution.bias = weights(WIDTH, inputs, 3), weights(WIDTH)
    spec.encoder.position_encodings.encodings = weights(FRAMES, WIDTH)
    spec.decoder.position_encodings.encodings = weights(CONTEXT, WIDTH)
    spec.decoder.embeddings.weight = weights(tokens, WIDTH)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    for half in (spec.encoder, spec.decoder):
        norm(half.layer_norm)
        for layer in half.layer:
            attention(layer.self_attention, 3 * WIDTH, WIDTH)
            if hasattr(layer, "attention"):
                attention(layer.attention, WIDTH, 2 * WIDTH, WIDTH)
            feed_forward(layer.ffn)


def is_multilingual(folder: Path) -> bool:
    """What CTranslate2 thinks of the model."""
    return bool(ctranslate2.models.Whisper(str(folder)).is_multilingual)
