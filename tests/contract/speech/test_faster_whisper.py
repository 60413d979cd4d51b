"""What FasterWhisper hands to the model, and what it does with models of many languages."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from auricle.adapters.speech.faster_whisper import PROMPT_TOKENS, Decoding, FasterWhisper
from auricle.errors import Invalid, Permanent
from auricle.ports.media import SAMPLE_RATE
from auricle.ports.speech import Transcription, TranscriptionOptions
from auricle_gpu.batching import ShrinkingBatches
from auricle_gpu.models import DEMO
from builders.conversations import many_languages, meeting

CLIPS = meeting.clips()[:3]
AUDIO = meeting.samples()[: int(CLIPS[-1].end * SAMPLE_RATE) + 100]


class Eavesdropper:
    """Stands in front of the CTranslate2 model and remembers how it was called."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.prompts: list[list[int]] = []
        self.batches: list[int] = []
        self.wishes: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, features: Any, prompts: list[list[int]], **wishes: Any) -> Any:
        self.prompts += prompts
        self.batches.append(len(prompts))
        self.wishes.append(wishes)
        return self._model.generate(features, prompts, **wishes)


def listening(adapter: FasterWhisper) -> Eavesdropper:
    adapter._model.model = Eavesdropper(adapter._model.model)
    return adapter._model.model


def demo(**more: Any) -> FasterWhisper:
    return FasterWhisper(DEMO / "whisper-demo", compute_type="int8", threads=2, decoding=Decoding(beam_size=1), **more)


def hear(adapter: FasterWhisper, **wishes: str) -> Transcription:
    return adapter.transcribe(AUDIO, 0.0, CLIPS, TranscriptionOptions(**wishes), lambda _: None)


@pytest.fixture(scope="session")
def polyglot_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return many_languages.make(tmp_path_factory.mktemp("models") / "polyglot")


@pytest.fixture
def polyglot(polyglot_dir: Path) -> FasterWhisper:
    return FasterWhisper(polyglot_dir, compute_type="int8", threads=2, decoding=Decoding(beam_size=1))


def test_hotwords_and_prompt_reach_the_model_before_every_clip() -> None:
    adapter = demo()
    ears, tokenizer = listening(adapter), adapter._model.hf_tokenizer
    hear(adapter, hotwords="budget roadmap", initial_prompt="Hello Oliver, how are you?")
    words = tokenizer.encode(" budget roadmap", add_special_tokens=False).ids
    prompt = tokenizer.encode("Hello Oliver, how are you?", add_special_tokens=False).ids
    begins = tokenizer.token_to_id("<|startoftranscript|>")
    assert len(ears.prompts) == len(CLIPS)
    for given in ears.prompts:
        assert given[: given.index(begins)] == [tokenizer.token_to_id("<|startofprev|>"), *words, *prompt]


def test_without_wishes_nothing_stands_before_the_transcript() -> None:
    adapter = demo()
    ears = listening(adapter)
    hear(adapter)
    begins = adapter._model.hf_tokenizer.token_to_id("<|startoftranscript|>")
    assert all(given[0] == begins for given in ears.prompts)


def test_decoding_is_greedy_and_cold_as_the_model_wants_it() -> None:
    adapter = demo()
    ears = listening(adapter)
    hear(adapter)
    assert all(wish["beam_size"] == 1 and wish["sampling_temperature"] == 0.0 for wish in ears.wishes)


def test_long_vocabularies_are_cut_to_what_the_model_can_read() -> None:
    adapter = demo()
    ears = listening(adapter)
    heard = hear(adapter, hotwords="budget " * 500, initial_prompt="The first topic is the code. " * 200)
    begins = adapter._model.hf_tokenizer.token_to_id("<|startoftranscript|>")
    assert all(PROMPT_TOKENS // 2 < given.index(begins) <= PROMPT_TOKENS + 2 for given in ears.prompts)
    assert heard.language == "en"


def test_batches_that_do_not_fit_are_halved_and_nothing_is_lost() -> None:
    class SmallDevice(Eavesdropper):
        def generate(self, features: Any, prompts: list[list[int]], **wishes: Any) -> Any:
            if len(prompts) > 1:
                raise RuntimeError("CUDA failed with error out of memory")
            return super().generate(features, prompts, **wishes)

    whole = hear(demo())
    batches = ShrinkingBatches(4)
    adapter = demo(batches=batches)
    adapter._model.model = ears = SmallDevice(adapter._model.model)
    assert [p.text for p in hear(adapter).passages] == [p.text for p in whole.passages]
    assert ears.batches == [1] * len(CLIPS)
    assert batches.size == 1


def test_neighbouring_clips_share_a_window_when_the_model_wants_that() -> None:
    adapter = FasterWhisper(
        DEMO / "whisper-demo", compute_type="int8", threads=2, decoding=Decoding(beam_size=1, bridge_seconds=2.0)
    )
    ears = listening(adapter)
    heard = hear(adapter)
    assert len(ears.prompts) == 1
    assert len(heard.passages) == 1


def test_a_wished_language_reaches_a_model_of_many(polyglot: FasterWhisper) -> None:
    ears = listening(polyglot)
    heard = hear(polyglot, language="pt-BR")
    assert heard.language == "pt"
    assert heard.language_probability == 1.0
    token = polyglot._model.hf_tokenizer.token_to_id("<|pt|>")
    assert all(token in given for given in ears.prompts)


def test_the_language_is_detected_when_nobody_says_it(polyglot: FasterWhisper) -> None:
    ears = listening(polyglot)
    heard = hear(polyglot)
    assert heard.language in polyglot.languages
    assert 0.0 < heard.language_probability < 1.0
    token = polyglot._model.hf_tokenizer.token_to_id(f"<|{heard.language}|>")
    assert all(token in given for given in ears.prompts)


def test_silence_in_an_unknown_language_is_undetermined(polyglot: FasterWhisper) -> None:
    heard = polyglot.transcribe(AUDIO, 0.0, [], TranscriptionOptions(), lambda _: None)
    assert (heard.language, heard.language_probability) == ("und", 0.0)


def test_words_of_a_model_that_hallucinates_stay_in_their_clips(polyglot: FasterWhisper) -> None:
    heard = hear(polyglot, language="de")
    words = [word for passage in heard.passages for word in passage.words]
    assert words
    assert all(any(c.start <= w.start <= w.end <= c.end for c in CLIPS) for w in words)
    assert all(a.end <= b.start for a, b in pairwise(words))


def test_nonsense_languages_are_refused(polyglot: FasterWhisper) -> None:
    with pytest.raises(Invalid, match="Klingon"):
        hear(polyglot, language="Klingon")


def test_a_folder_without_a_model_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(Permanent, match=r"model\.bin, tokenizer\.json.*auricle models verify"):
        FasterWhisper(tmp_path)
