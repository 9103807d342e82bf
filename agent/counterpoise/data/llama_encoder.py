"""An encoder in llama.cpp: a GGUF file behind the `/v1/embeddings` of a child process of ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from weakref import finalize

import numpy as np

from counterpoise.core.llama_server import LlamaServer
from counterpoise_retrievers.arrays import Vectors
from counterpoise_retrievers.encoder_protocol import mend_text
from counterpoise_retrievers.remote_encoders import EndpointEncoder, average_pieces, cut_texts

_SPARE_TOKENS = 64  # of the window, for a prefix and the marks at both ends
MOST_WINDOWS = 8
"""Of a text; what is beyond is not looked at."""


class LlamaEncoder:
    """Vectors by a GGUF model; its server is started when the first text is encoded, and ends with the encoder.

    One text is asked for at a time: in company the last digits of its vector would depend on the company.

    Args:
        name: names the vectors; stands for the weights.
        model: the GGUF file.
        dimension: numbers in a vector.
        max_tokens: the model's window.
        prefix: put in front of every text, as the model was trained.
    """

    def __init__(self, name: str, model: Path, *, dimension: int, max_tokens: int, prefix: str = "") -> None:
        self.name = name
        self.dimension = dimension
        self.max_tokens = max_tokens
        self.identity = prefix.strip()
        self._prefix = prefix
        self._server = LlamaServer(lambda: model, name, n_slots=1, slot_tokens=max_tokens, embeds=True)
        self._endpoint: EndpointEncoder | None = None
        finalize(self, self._server.stop)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts: (n, dimension) float32, rows of length 1, in their order.

        Raises:
            ServerError: llama.cpp is not installed, or does not come up.
            ConnectionError: it has ended.
        """
        if self._endpoint is None:
            url, api_key = self._server.start()
            self._endpoint = EndpointEncoder(
                url,
                self.name,
                api_key,
                max_tokens=self.max_tokens,
                batch_size=1,
                concurrency=1,
                timeout_seconds=300,
            )
        if not len(texts):
            return np.empty((0, self.dimension), dtype=np.float32)
        # A token of another script may be one character: pieces that long fit the window whatever they hold.
        longest = self.max_tokens - _SPARE_TOKENS
        pieces, owners = cut_texts([mend_text(text)[: MOST_WINDOWS * longest] for text in texts], longest)
        vectors = self._endpoint.encode([self._prefix + piece for piece in pieces])
        return average_pieces(vectors, pieces, owners, self.name)
