"""Batch sizes that shrink when memory runs out: nobody has to know how much fits on whose device."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable
from typing import TypeVar

from auricle.errors import Retryable

T = TypeVar("T")

log = logging.getLogger(__name__)

OUT_OF_MEMORY = ("out of memory", "alloc_failed", "failed to allocate", "bad_alloc", "bad allocation", "cannot allocate memory")
"""How torch, CTranslate2 (CPU and CUDA), cuBLAS, cuDNN and onnxruntime say it, in small letters."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a library means that memory ran out, whatever it calls that."""
    if isinstance(error, MemoryError):
        return True
    if type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, (RuntimeError, OSError)) and any(words in str(error).lower() for words in OUT_OF_MEMORY)


def give_back_memory() -> None:
    """Let the device have what no model holds any more."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


class ShrinkingBatches:
    """Halves the batch when memory runs out, and keeps the size that worked."""

    def __init__(self, size: int) -> None:
        """`size` to begin with, at least 1."""
        self.size = max(1, size)

    def attempt(self, work: Callable[[int], T]) -> T:
        """What `work(size)` returns, with the largest size that fits. `Retryable` when not even one piece does."""
        while True:
            size = self.size
            try:
                return work(size)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise Retryable(
                        "The speech device is out of memory even for one piece at a time: "
                        "it will be tried again. If this stays, choose a smaller model.",
                        delay=30.0,
                    ) from error
            # Out of the handler on purpose: the traceback holds the tensors that did not fit.
            self.size = min(self.size, max(1, size // 2))
            log.warning("Out of memory with %d pieces at once; going on with %d.", size, self.size)
            give_back_memory()
