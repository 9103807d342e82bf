"""One text an instruction, by a distilabel pipeline; `evals/peers.py` runs it with a Python that has distilabel.

Reads one JSON object from the standard input (`url`, `api_key`, `instructions`, `temperature`, `max_tokens`,
`n_at_once`), writes a JSON list of `{"text", "tokens"}` to the file that the one argument names.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the pipeline: load, generate, collect."""
    from distilabel.models import OpenAILLM  # type: ignore[import-not-found]
    from distilabel.pipeline import Pipeline  # type: ignore[import-not-found]
    from distilabel.steps import LoadDataFromDicts  # type: ignore[import-not-found]
    from distilabel.steps.tasks import TextGeneration  # type: ignore[import-not-found]
    from openai import OpenAI

    asked = json.load(sys.stdin)
    model = OpenAI(base_url=asked["url"], api_key=asked["api_key"]).models.list().data[0].id
    with Pipeline(name="peers") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": text} for text in asked["instructions"]])
        write = TextGeneration(
            name="write",
            llm=OpenAILLM(
                model=model,
                base_url=asked["url"],
                api_key=asked["api_key"],
                generation_kwargs={
                    "temperature": asked["temperature"],
                    "max_new_tokens": asked["max_tokens"],
                },
            ),
            input_batch_size=asked["n_at_once"],
        )
        load >> write
    made = pipeline.run(use_cache=False)
    rows: list[dict[str, Any]] = list(made["default"]["train"])
    found = [{"text": row["generation"] or "", "tokens": _count(row)} for row in rows]
    Path(sys.argv[1]).write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


def _count(row: dict[str, Any]) -> int:
    """Tokens of a row, as distilabel reports them."""
    counts = row["distilabel_metadata"]["statistics_write"]
    total = 0
    for name in ("input_tokens", "output_tokens"):
        value = counts[name]
        total += sum(value) if isinstance(value, list) else value
    return total


if __name__ == "__main__":
    main()
