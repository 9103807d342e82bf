"""One training step on each of some files by the library they are for, with a tiny random model.

`python train_one_step.py LIBRARY FOLDER FILE...` runs in `.venv-extras/trainers`, LIBRARY being `sentence_transformers`
or `flag_embedding`; prints what was trained on, one JSON object a file. Nothing is downloaded, and nothing of ours is
imported.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "WANDB_MODE": "disabled"}

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def make_model(folder: Path) -> Path:
    """A BERT of random weights, with a tokenizer that knows letters and digits."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    path = folder / "model"
    path.mkdir(parents=True)
    (path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    BertTokenizerFast(str(path / "vocab.txt")).save_pretrained(path)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(path)
    return path


def train_sentence_transformers(file: Path, folder: Path) -> dict[str, Any]:
    """All text columns as they stand, as its documentation has it: anchor, positive, negatives."""
    from datasets import load_dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    data = load_dataset("json", data_files=str(file), split="train", cache_dir=str(folder / "cache"))
    model = SentenceTransformer(str(make_model(folder)), device="cpu")
    arguments = Arguments(
        output_dir=str(folder / "out"),
        max_steps=1,
        per_device_train_batch_size=len(data),
        use_cpu=True,
        report_to=[],
        save_strategy="no",
    )
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=data, loss=MultipleNegativesRankingLoss(model)
    )
    done = trainer.train()
    return {
        "rows": len(data),
        "columns": data.column_names,
        "steps": done.global_step,
        "loss": done.training_loss,
    }


def train_flag_embedding(file: Path, folder: Path) -> dict[str, Any]:
    """By its own runner, with eight passages a query, its default."""
    from FlagEmbedding.abc.finetune.embedder import (
        AbsEmbedderDataArguments,
        AbsEmbedderModelArguments,
        AbsEmbedderTrainingArguments,
    )
    from FlagEmbedding.finetune.embedder.encoder_only.base import EncoderOnlyEmbedderRunner

    runner = EncoderOnlyEmbedderRunner(
        model_args=AbsEmbedderModelArguments(model_name_or_path=str(make_model(folder))),
        data_args=AbsEmbedderDataArguments(train_data=[str(file)], cache_path=str(folder / "cache")),
        training_args=AbsEmbedderTrainingArguments(
            output_dir=str(folder / "out"),
            max_steps=1,
            per_device_train_batch_size=4,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
        ),
    )
    data = runner.train_dataset
    for place in range(len(data)):  # a step reads four rows; each has to give a query with its passages
        query, passages, _ = data[place]
        if not all(isinstance(text, str) for text in (query, *passages)):
            raise TypeError(f"row {place} is no query with texts")
    done = runner.trainer.train()
    return {
        "rows": len(data),
        "columns": data.dataset.column_names,
        "steps": done.global_step,
        "loss": done.training_loss,
    }


def main() -> None:
    """Train and print what came of it."""
    library, folder, *files = sys.argv[1], *map(Path, sys.argv[2:])
    train = {"sentence_transformers": train_sentence_transformers, "flag_embedding": train_flag_embedding}[
        library
    ]
    for file in files:
        print(json.dumps(train(file, folder / f"{file.stem}.{library}")), flush=True)


if __name__ == "__main__":
    main()
