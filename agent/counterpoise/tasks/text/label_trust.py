"""Who may decide about labels: every scorer is audited on the user's own rows before it is believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from counterpoise.core.records import Floats, Integers
from counterpoise.llm import ChatClient
from counterpoise.scorers.audits import Audit, audit, describe_audit
from counterpoise.scorers.concepts.model import ask_model, run_pilot
from counterpoise.scorers.concepts.similarity import score_answered
from counterpoise.scorers.deciding import Decider, choose_decider, score_out_of_fold
from counterpoise.scorers.family import BASELINE, SCORERS, Scorer, ScorerRows
from counterpoise.scorers.gold import LABEL
from counterpoise.scorers.model_labels import ModelSay
from counterpoise.students.samples import draw_sample
from counterpoise.tasks.text.concept_inputs import label_inputs
from counterpoise.tasks.text.inputs import Inputs

PILOT_SHARE = 0.1
LABELLING_SHARE = 0.2
FEWEST_KNOWN = 20


@dataclass(frozen=True, slots=True)
class LabelTrust:
    """The audits of all label scorers.

    Args:
        rows: one row a scorer, as the report shows it (`report.schema.ScorerAudit`).
        out_of_fold: (n, k) of the scorer that decides, on the training rows.
        classifier: the classifier's audit.
        decider: the scorer of the user's own that decides instead of the classifier; None where the classifier does.
        model: how the job's model is asked, and how far it is believed; None where it has not earned a say.
    """

    rows: tuple[dict[str, Any], ...]
    out_of_fold: Floats
    classifier: Audit
    decider: Decider | None = None
    model: ModelSay | None = None

    @property
    def is_trusted(self) -> bool:
        """Whether the scorer that costs nothing may adopt and refuse."""
        return self.decider is not None or not self.classifier.is_weak

    def describe_concepts(self, inputs: Inputs, line: dict[str, Any]) -> LabelTrust:
        """The same with the lines of the concepts' scorers as they are now, and that of the model's pilot."""
        lines = [] if inputs.labeller is None else inputs.labeller.list_audits()
        questions = {row["question"] for row in lines}
        return replace(
            self, rows=(*(row for row in self.rows if row["question"] not in questions), line, *lines)
        )


def audit_free_scorers(inputs: Inputs, scorers: Sequence[Scorer] | None = None) -> LabelTrust:
    """Audit the label scorers that need no model, those that learn by cross-fitting, and choose who decides.

    Args:
        inputs: the data.
        scorers: those that the job names; None for the default list. The classifier is audited in any case.

    Raises:
        PartError: a scorer of the user's own failed.
    """
    chosen = SCORERS.choose(SCORERS.defaults) if scorers is None else tuple(scorers)
    parts = [BASELINE, *(part for part in chosen if part is not BASELINE and not needs_model(part))]
    names = inputs.train.records.label_names
    rows, (known, truth, source) = show_rows(inputs), find_known_labels(inputs)
    learned = draw_sample(inputs.train.records).rows
    scores = {part.name: score_out_of_fold(part, rows, inputs.folds, learned) for part in parts}
    results = {name: audit(found[known], truth, names=names) for name, found in scores.items()}
    classifier = results[BASELINE.name]
    able = {part.name: results[part.name] for part in parts[1:] if getattr(part, "may_decide", True)}
    decides = choose_decider(classifier, able)
    lines = [
        describe_baseline(classifier, source, decides),
        *(_describe_other(part, results[part.name], classifier, source, decides) for part in parts[1:]),
    ]
    if inputs.labeller is not None:
        lines += inputs.labeller.list_audits()
    decider = next(
        (Decider(part, rows, inputs.folds, scores[decides]) for part in parts if part.name == decides), None
    )
    return LabelTrust(tuple(lines), scores[decides or BASELINE.name], classifier, decider)


def needs_model(scorer: Scorer) -> bool:
    """Whether a scorer is audited only once the model of the job is there."""
    return bool(getattr(scorer, "needs_model", False))


def show_rows(inputs: Inputs) -> ScorerRows:
    """The training rows as scorers see them."""
    train = inputs.train
    records = train.records
    return ScorerRows(
        records.texts, train.vectors, records.label_names, inputs.label_texts, inputs.encoder, records.labels
    )


def describe_baseline(classifier: Audit, source: str, decides: str) -> dict[str, Any]:
    """The classifier's line in the report.

    Args:
        classifier: its audit.
        source: where the known labels come from.
        decides: the scorer of the user's own that decides instead of it; "" where it does.
    """
    note = (
        "It adopts from the pool and refuses proposals it holds for another label."
        if not classifier.is_weak
        else "Its AUROC interval touches 0.6, so it neither adopts nor refuses: more rows of the rare labels "
        "(20 help) or a better encoder would."
    )
    role = "refused" if classifier.is_weak else "used"
    if decides:
        note, role = f"'{decides}' is surely better, and takes its decisions.", "reported"
    question = f"{BASELINE.question}{source}"
    return describe_audit(BASELINE.name, question, classifier, role=role, price=BASELINE.price, note=note)


def _describe_other(
    part: Scorer, result: Audit, classifier: Audit, source: str, decides: str
) -> dict[str, Any]:
    """The line of a scorer that is measured against the classifier."""
    beaten = f"AUROC {result.auc_low:.2f} to {result.auc_high:.2f}"
    bar = f"the classifier's {classifier.auc_low:.2f} to {classifier.auc_high:.2f}"
    if not getattr(part, "may_decide", True):
        role, note = "reported", str(getattr(part, "note", "It is reported beside the others."))
    elif part.name == decides:
        role, note = "used", f"It decides instead of the classifier: {beaten} lies above {bar}."
    elif result.is_weak:
        role, note = "refused", "Its AUROC interval touches 0.6: it decides nothing."
    else:
        role, note = "reported", f"{beaten} is not above {bar}, or another is better: it decides nothing."
    question = str(getattr(part, "question", "")) or f"Which label has the text?{source}"
    return describe_audit(part.name, question, result, role=role, price=part.price, note=note)


def find_known_labels(inputs: Inputs) -> tuple[Integers, Integers, str]:
    """The rows that label scorers are audited on: (m,) positions, (m,) right labels, and where they come from.

    Labels the user answered for a random draw come first, then rows of the column `trusted`, then all labels of the
    data (of a sample, where there are many), which cross-fitting keeps honest as long as they are right.
    """
    records = inputs.train.records
    answered = inputs.gold.get(LABEL)
    # Answers about errors have mended the labels that they speak of: all rows say more than a few of a rare label.
    if answered is not None and not answered.chances and len(answered.audit_rows) >= FEWEST_KNOWN:
        return answered.audit_rows, answered.audit_truth, f"; {len(answered.audit_rows)} answers of yours."
    if inputs.trusted is not None and inputs.trusted.sum() >= FEWEST_KNOWN:
        rows = np.flatnonzero(inputs.trusted)
        return rows, records.labels[rows], f"; {len(rows)} rows you marked as trusted."
    sample = draw_sample(records)
    rows = inputs.leave_out_doubtful(sample.rows)
    return (
        rows,
        records.labels[rows],
        f"; {len(rows):,} of {sample.n_all:,} rows." if sample.is_part else "; all rows.",
    )


async def label_with_model(
    inputs: Inputs, chat: ChatClient, key: str
) -> tuple[Inputs, dict[str, Any] | None]:
    """Let the language model label concepts where its pilot allows, and choose the scorers again.

    Without known answers nothing could approve it, so nothing is asked. What it labels costs at most a fifth of the
    budget; the rest is labelled by the student it teaches.

    Returns:
        The inputs, and the line of the report; None where nothing was asked.
    """
    if not any(name in inputs.gold for name in inputs.concepts):
        return inputs, None
    records = inputs.train.records
    known = {name: one for name, one in inputs.gold.items() if name in inputs.concepts}
    free = score_answered(inputs.train, inputs.concepts, known, inputs.encoder)
    pilot = await run_pilot(chat, records, inputs.concepts, inputs.gold, key, PILOT_SHARE / 2, free)
    if not pilot.passes:
        return inputs, pilot.describe(chat.name)
    limit = None if chat.budget.limit is None else LABELLING_SHARE * chat.budget.limit
    scores = await ask_model(chat, records, inputs.concepts, pilot, limit, key, inputs.gold)
    return label_inputs(inputs, scores), pilot.describe(chat.name)
