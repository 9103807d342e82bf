"""All encoders in one place.

from counterpoise_retrievers.encoders import CachedEncoder, OnnxEncoder

encoder = CachedEncoder(OnnxEncoder(model, tokenizer, name="minilm"), cache_folder)
vectors = encoder.encode(["good food", "slow service"])
"""

from __future__ import annotations

from counterpoise_retrievers.embedding_cache import CachedEncoder
from counterpoise_retrievers.encoder_protocol import Encoder, TokenCounter, find_identity, name_vectors
from counterpoise_retrievers.onnx_encoder import OnnxEncoder
from counterpoise_retrievers.remote_encoders import EndpointEncoder, LangChainEncoder, PrefixedEncoder

__all__ = [
    "CachedEncoder",
    "Encoder",
    "EndpointEncoder",
    "LangChainEncoder",
    "OnnxEncoder",
    "PrefixedEncoder",
    "TokenCounter",
    "find_identity",
    "name_vectors",
]
