"""The forms in which training instances are written, and read: the family `exporters`.

tevatron               query_id, query, positive_passages, negative_passages (docid, title, text)
rlhn                   query_id, query, positives, negatives (id, title, text)
tevatron_ids           query_id, query_text, positive_document_ids, negative_document_ids; texts in a corpus
flag_embedding         query, pos, neg (lists of texts), perhaps pos_scores, neg_scores, prompt, type
sentence_transformers  anchor, positive, negative or negative_1 ... negative_n (texts alone), and judged pairs
beir                   a folder: corpus.jsonl, queries.jsonl, qrels/train.tsv; written only
"""

from __future__ import annotations

from counterpoise.core.errors import JobError
from counterpoise.core.registry import Registry
from counterpoise.data.exporters.base import Exporter, InstanceForm
from counterpoise.data.exporters.beir import Beir
from counterpoise.data.exporters.flag_embedding import FlagEmbedding
from counterpoise.data.exporters.rlhn import Rlhn
from counterpoise.data.exporters.sentence_transformers import SentenceTransformers
from counterpoise.data.exporters.tevatron import Tevatron
from counterpoise.data.exporters.tevatron_ids import TevatronIds

EXPORTERS: Registry[Exporter] = Registry(
    "exporters",
    needs=("holds_query", "has_titles", "has_columns", "write", "count_slots", "is_judged"),
    key="form",
)

EXPORTERS.register(TevatronIds())
DEFAULT_EXPORTER = EXPORTERS.register(Tevatron())
EXPORTERS.register(Rlhn())
EXPORTERS.register(FlagEmbedding())
EXPORTERS.register(SentenceTransformers())
EXPORTERS.register(Beir(), default=False)


def list_forms() -> tuple[InstanceForm, ...]:
    """The forms that ship and can be read, in the order in which a line is tried with them."""
    parts = [EXPORTERS.find(name) for name in EXPORTERS.names]
    return tuple(part for part in parts if isinstance(part, InstanceForm))


def find_readable(name: str) -> InstanceForm:
    """The form of a name, which can be read.

    Raises:
        JobError: nothing has the name, or what has it is written only.
    """
    part = EXPORTERS.find(name)
    if not isinstance(part, InstanceForm):
        names = ", ".join(form.name for form in list_forms())
        raise JobError(f"'{name}' is written only", where="key 'form'", hint=f"write one of {names}")
    return part
