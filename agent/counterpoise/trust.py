"""Who may decide about labels: every scorer is audited on the user's own rows before it is believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoise.audits import Audit, audit
from counterpoise.llm import ChatClient
from counterpoise.preparation import Inputs
from counterpoise.records import Floats
from counterpoise.scorers import LETTERS, LLMScorer, cross_fit
from counterpoise.splits import sample_by_rank

PILOT_ROWS = 100
PILOT_SHARE = 0.1
QUESTION = "Which of these describes the text best?"


@dataclass(frozen=True, slots=True)
class LabelTrust:
    """The audits of all label scorers.

    Args:
        rows: one row a scorer, as the report shows it (`report_schema.ScorerAudit`).
        out_of_fold: (n, k) of the classifier on the training rows.
        classifier: its audit.
    """

    rows: tuple[dict[str, Any], ...]
    out_of_fold: Floats
    classifier: Audit

    @property
    def is_trusted(self) -> bool:
        """Whether the classifier may adopt and refuse."""
        return not self.classifier.is_weak


async def audit_label_scorers(inputs: Inputs, chat: ChatClient | None, key: str) -> LabelTrust:
    """Audit the classifier by cross-fitting, similarity as it is, and the language model on a pilot.

    The pilot is at most 100 rows, balanced over the labels, and at most a tenth of the budget. The language model is
    reported beside the others; it decides only where its AUROC interval lies above the classifier's, because the
    classifier costs no token.

    Args:
        inputs: the data.
        chat: the way to the model; None audits what costs nothing.
        key: the run's key.
    """
    train = inputs.train
    truth = train.records.labels
    n_labels = len(train.records.label_names)
    out_of_fold, _ = cross_fit(train.vectors, truth, inputs.folds, n_labels)
    classifier = audit(out_of_fold, truth)
    rows = [
        _describe(
            "classifier",
            "Which label has the text? Logistic regression on sentence vectors, cross-fitted.",
            classifier,
            role="refused" if classifier.is_weak else "used",
            price=0.0,
            note="It adopts from the pool and refuses proposals it holds for another label."
            if not classifier.is_weak
            else "Its AUROC interval touches 0.6, so it neither adopts nor refuses: more rows of the rare labels "
            "(20 help) or a better encoder would.",
        )
    ]
    similarity = audit(train.zero_shot, truth)
    rows.append(
        _describe(
            "similarity",
            "Which label's description is the text nearest to?",
            similarity,
            role="reported",
            price=0.0,
            note="It knows nothing of the data; a line for each label under `labels` in the job helps it.",
        )
    )
    if chat is not None and 2 <= n_labels <= len(LETTERS):
        rows += await _audit_model(inputs, chat, key, classifier)
    return LabelTrust(tuple(rows), out_of_fold, classifier)


async def _audit_model(inputs: Inputs, chat: ChatClient, key: str, cheaper: Audit) -> list[dict[str, Any]]:
    records = inputs.train.records
    scorer = LLMScorer(chat, QUESTION, inputs.label_texts, purpose="audit")
    picked = _draw_pilot(inputs, key)
    limit = chat.budget.limit
    if limit is not None:
        prices = np.cumsum([scorer.estimate_tokens(str(records.texts[row])) for row in picked])
        picked = picked[: int(np.searchsorted(prices, PILOT_SHARE * limit, side="right"))]
    question = f"{QUESTION} The language model {chat.name} picks a letter."
    if len(picked) < 10:
        return [
            _describe(
                "llm",
                question,
                None,
                role="refused",
                price=None,
                note="A tenth of the budget does not pay an audit of ten rows.",
            )
        ]
    before = chat.budget.used
    pilot = records.take(np.array(picked))
    answers = await scorer.score(pilot)
    answered = ~np.isnan(answers).any(axis=1)
    if answered.sum() < 10 or len(np.unique(pilot.labels[answered])) < 2:
        return [
            _describe(
                "llm",
                question,
                None,
                role="refused",
                price=None,
                note="It gave no usable answer: the server may not return log-probabilities.",
            )
        ]
    result = audit(answers[answered], pilot.labels[answered])
    price = (chat.budget.used - before) / max(1, len(picked)) * 1000
    better = result.auc_low > cheaper.auc_high
    note = (
        f"Better than the classifier (AUROC from {result.auc_low:.2f} against up to {cheaper.auc_high:.2f})."
        if better
        else f"AUROC {result.auc_low:.2f} to {result.auc_high:.2f} is not above the classifier's "
        f"{cheaper.auc_low:.2f} to {cheaper.auc_high:.2f}, which costs nothing: it decides nothing."
    )
    return [
        _describe("llm", question, result, role="reported" if better else "refused", price=price, note=note)
    ]


def _draw_pilot(inputs: Inputs, key: str) -> Sequence[int]:
    """Rows by keyed hash, the labels in turn, so that a rare label is in the pilot too."""
    records = inputs.train.records
    queues = []
    for label in range(len(records.label_names)):
        members = np.flatnonzero(records.labels == label)
        queues.append(
            [
                int(members[place])
                for place in sample_by_rank(records.ids[members], PILOT_ROWS, f"{key}:pilot")
            ]
        )
    picked: list[int] = []
    while len(picked) < PILOT_ROWS and any(queues):
        picked += [queue.pop(0) for queue in queues if queue]
    return picked[:PILOT_ROWS]


def _describe(
    name: str, question: str, result: Audit | None, *, role: str, price: float | None, note: str
) -> dict[str, Any]:
    fields = ("accuracy", "low", "high", "kappa", "auc", "auc_low", "auc_high")
    values = {field: None if result is None else getattr(result, field) for field in fields}
    return {
        "name": name,
        "question": question,
        "n": 0 if result is None else result.n,
        **values,
        "role": role,
        "price_per_1000": price,
        "note": note,
    }
