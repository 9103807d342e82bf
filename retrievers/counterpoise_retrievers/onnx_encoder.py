"""A local sentence encoder: ONNX Runtime, the states of the tokens pooled, rows of length 1.

Every text is run alone, without padding, on one thread; several texts run side by side. There are no batches:
kernels with dynamic quantisation take their scales from the whole batch, so a text's vector would depend on
its companions, and on a CPU batches gain next to nothing.

    encoder = OnnxEncoder(Path("model.onnx"), Path("tokenizer.json"), name="minilm")
    encoder.encode(["good food", "slow service"]).shape   # (2, 384)
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from counterpoise_retrievers.arrays import Integers, Vectors, normalise_rows
from counterpoise_retrievers.encoder_protocol import mend_text

Pooling = Literal["mean", "cls", "last"]

_POOLS: dict[Pooling, Callable[[Vectors], NDArray[np.float64]]] = {
    "mean": lambda states: np.asarray(states.mean(axis=0, dtype=np.float64)),
    "cls": lambda states: states[0].astype(np.float64),
    "last": lambda states: states[-1].astype(np.float64),
}
_TEXTS_A_BLOCK = 1024
"""Texts that are tokenised at once; bounds the memory that token lists take."""


class OnnxEncoder:
    """A sentence encoder from an ONNX file and its tokenizer.

    Texts longer than the window are cut into windows of `max_tokens` tokens (special tokens included); their
    vectors are averaged with the numbers of their tokens as weights. An empty text has a vector too: that of
    the special tokens alone.

    Args:
        model: ONNX file with inputs `input_ids`, `attention_mask` and, where it lists it, `token_type_ids`,
            and token states (batch, tokens, dimension) as its first output.
        tokenizer: `tokenizer.json` of the model.
        name: names the vectors in caches and reports; another model or version needs another name.
        max_tokens: the window, special tokens included.
        threads: texts that run side by side; the cores this process may use where it is None.
        pooling: what is made of the states of the tokens: their `mean`, or that of the first one (`cls`) or the `last`.
        prefix: put in front of every text, as the model was trained.

    Raises:
        ValueError: a file is missing or unreadable, or the model does not take `max_tokens` tokens.
    """

    def __init__(
        self,
        model: Path,
        tokenizer: Path,
        *,
        name: str,
        max_tokens: int = 256,
        threads: int | None = None,
        pooling: Pooling = "mean",
        prefix: str = "",
    ) -> None:
        self.name = name
        self.identity = " ".join(
            part for part in (pooling if pooling != "mean" else "", prefix.strip()) if part
        )
        self._pool = _POOLS[pooling]
        self._text_prefix = prefix
        self.max_tokens = max_tokens
        self._threads = threads or _count_cores()
        self._tokenizer = _load_tokenizer(tokenizer)
        self._unknown = _find_unknown_token(self._tokenizer)
        self._prefix, self._suffix = _find_special_tokens(self._tokenizer)
        self._window = max_tokens - len(self._prefix) - len(self._suffix)
        if self._window < 1:
            raise ValueError(f"max_tokens: {max_tokens} leaves no room beside the special tokens")
        self._session = _load_session(model)
        self._inputs = {each.name for each in self._session.get_inputs()}
        # A full window, so that a model with fewer positions fails here and not at the first long text.
        try:
            self.dimension = len(self._encode_window([*self._prefix, *[0] * self._window, *self._suffix]))
        except Exception as error:  # ONNX Runtime's error classes share no public base.
            raise ValueError(f"{model}: does not run on {max_tokens} tokens: {error}") from error

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; a text's vector depends on the text alone.

        Args:
            texts: n texts, of any length.

        Returns:
            (n, dimension) float32, rows of length 1, in the order of the texts.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        with ThreadPoolExecutor(self._threads) as pool:
            for start in range(0, len(texts), _TEXTS_A_BLOCK):
                block = texts[start : start + _TEXTS_A_BLOCK]
                for offset, vector in enumerate(pool.map(self._encode_tokens, self._tokenise(block))):
                    vectors[start + offset] = vector
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> Integers:
        """Count the tokens of each text, special tokens not included: (n,) int64."""
        return np.fromiter((len(tokens) for tokens in self._iterate_tokens(texts)), np.int64, len(texts))

    def count_long(self, texts: Sequence[str]) -> int:
        """Count the texts that do not fit the window, so that they are encoded in pieces."""
        return int((self.count_tokens(texts) > self._window).sum())

    def unknown_token_ratio(self, texts: Sequence[str]) -> float:
        """Give the share of tokens that say nothing, 0 to 1: how badly the vocabulary fits a language.

        Counted are unknown tokens and the single letters that a longer word fell apart into. Languages that
        share the alphabet of the vocabulary's own stay below 0.4; above 0.5 (Cyrillic, Greek, Arabic, Hindi,
        Chinese, Thai for an English vocabulary) vectors mean little. Give a sample, some hundred texts.
        """
        n_tokens = n_lost = 0
        for start in range(0, len(texts), _TEXTS_A_BLOCK):
            block = list(map(mend_text, texts[start : start + _TEXTS_A_BLOCK]))
            for text, encoding in zip(
                block, self._tokenizer.encode_batch(block, add_special_tokens=False), strict=True
            ):
                words = Counter(encoding.word_ids)
                n_tokens += len(encoding.ids)
                for token, word, (first, end) in zip(
                    encoding.ids, encoding.word_ids, encoding.offsets, strict=True
                ):
                    is_single_letter = end - first == 1 and text[first].isalpha()
                    n_lost += token == self._unknown or (is_single_letter and words[word] > 1)
        return n_lost / n_tokens if n_tokens else 0.0

    def _iterate_tokens(self, texts: Sequence[str]) -> Iterator[list[int]]:
        for start in range(0, len(texts), _TEXTS_A_BLOCK):
            yield from self._tokenise(texts[start : start + _TEXTS_A_BLOCK])

    def _tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        given = [self._text_prefix + mend_text(text) for text in texts]
        encodings = self._tokenizer.encode_batch_fast(given, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _encode_tokens(self, tokens: list[int]) -> Vectors:
        pieces = [tokens[start : start + self._window] for start in range(0, len(tokens), self._window)] or [
            []
        ]
        states = np.stack([self._encode_window([*self._prefix, *piece, *self._suffix]) for piece in pieces])
        vectors = normalise_rows(states, what=self.name)
        if len(vectors) > 1:
            weights = np.array([len(piece) for piece in pieces], dtype=np.float64)
            vectors = normalise_rows((weights @ vectors.astype(np.float64))[None, :], what=self.name)
        return vectors.reshape(-1)

    def _encode_window(self, tokens: list[int]) -> NDArray[np.float64]:
        ids = np.array([tokens], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        outputs = self._session.run(None, {key: value for key, value in given.items() if key in self._inputs})
        return self._pool(outputs[0][0])


def _count_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux tells which cores a process may use
        return os.cpu_count() or 1


def _load_session(model: Path) -> Any:
    if not model.is_file():
        raise ValueError(f"{model}: no such model file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # plans memory for one shape; here every length is another
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # see above
        raise ValueError(f"{model}: no readable ONNX model: {error}") from error


def _load_tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise ValueError(f"{path}: no such tokenizer file")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers package raises bare Exception
        raise ValueError(f"{path}: no readable tokenizer: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _find_special_tokens(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    encoding = tokenizer.encode("a")
    content = [place for place, special in enumerate(encoding.special_tokens_mask) if not special]
    return encoding.ids[: content[0]], encoding.ids[content[-1] + 1 :]


def _find_unknown_token(tokenizer: Tokenizer) -> int:
    name = getattr(tokenizer.model, "unk_token", None)
    found = tokenizer.token_to_id(name) if isinstance(name, str) else None
    return -1 if found is None else int(found)
