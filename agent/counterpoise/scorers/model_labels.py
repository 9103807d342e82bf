"""A model as a way to label: asked outright, or beside the nearest rows of known label, its answers centred or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.core.splits import keyed_rank
from counterpoise.llm import ChatClient
from counterpoise.scorers.label_choice import LabelAnswers, LabelChoice, LabelQuestion
from counterpoise.scorers.weighing import Weighing

N_SHOWN = 8
_LONGEST_SHOWN = 400  # characters
_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class KnownRows:
    """Rows that a model may be shown.

    Args:
        texts: (n,) texts.
        vectors: (n, d) of them, of unit length.
        labels: (n,) label indices.
        folds: (n,) folds; near-duplicates share one. Whoever is asked about a row is shown none of its fold.
    """

    texts: Objects
    vectors: Vectors
    labels: Integers
    folds: Integers


@dataclass(frozen=True, slots=True)
class Asked:
    """Texts that a model is asked about.

    Args:
        texts: (m,) texts.
        vectors: (m, d) of them.
        likely: (m, k) probabilities of the labels by a scorer that has not seen the texts' labels.
        described: (m, k) similarity to the labels' descriptions, or empty.
        folds: (m,) folds of which nothing is shown; None for texts that are no known rows.
    """

    texts: Objects
    vectors: Vectors
    likely: Floats
    described: Floats
    folds: Integers | None = None

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.texts)

    def take(self, positions: Integers) -> Asked:
        """The texts at `positions`, in that order."""
        return Asked(
            self.texts[positions],
            self.vectors[positions],
            self.likely[positions],
            self.described[positions] if len(self.described) else self.described,
            None if self.folds is None else self.folds[positions],
        )


@dataclass(frozen=True, slots=True)
class ModelLabels:
    """A way to ask a model for labels.

    Args:
        chat: the way to the model.
        answers: one line a label.
        known: rows that may be shown as examples.
        n_shown: examples beside each text; 0 asks outright.
        centre: (k,) mean log-probabilities of the labels that are taken off; zeros for none. What a model leans to
            whatever it reads goes with it (Zhao et al., 2021, Calibrate Before Use, with real texts).
        purpose: under which its tokens are counted.
    """

    chat: ChatClient
    answers: tuple[str, ...]
    known: KnownRows
    n_shown: int = 0
    centre: Floats = field(default_factory=lambda: np.empty(0))
    purpose: str = "label"

    @property
    def manner(self) -> str:
        """How it is asked, in words."""
        shown = f"beside {self.n_shown} examples" if self.n_shown else "outright"
        return f"{shown}, centred" if len(self.centre) else shown

    def list_questions(self, asked: Asked) -> list[LabelQuestion]:
        """The questions about the texts, with their examples."""
        has_lines = len(asked.described) > 0
        plain = [
            LabelQuestion(
                str(text),
                likely=asked.likely[row],
                described=asked.described[row] if has_lines else np.empty(0),
            )
            for row, text in enumerate(asked.texts)
        ]
        if not self.n_shown:
            return plain
        folds = np.full(len(asked), -1) if asked.folds is None else asked.folds
        return [
            replace(one, shown=self._choose_examples(one, asked.vectors[row], int(folds[row])))
            for row, one in enumerate(plain)
        ]

    def estimate_tokens(self, question: LabelQuestion) -> int:
        """Tokens that a question costs at most, both orders together."""
        return self._open().estimate_tokens(question)

    async def answer(self, questions: Sequence[LabelQuestion]) -> LabelAnswers:
        """What the model says, centred.

        Raises:
            ServerError: the server is gone.
            StorageError: the reply store cannot be written.
        """
        said = await self._open().answer(questions)
        return take_off(said, self.centre) if len(self.centre) else said

    def _open(self) -> LabelChoice:
        if not self.n_shown:
            return LabelChoice(self.chat, self.answers, purpose=self.purpose)
        return LabelChoice(self.chat, self.answers, "in_context_choice", self.purpose, "examples")

    def _choose_examples(self, asked: LabelQuestion, vector: Vectors, fold: int) -> list[tuple[str, int]]:
        """The nearest known rows of each label that is shown, the likeliest labels first, as many of each."""
        known = self.known
        shown = self._open().list_labels(asked)
        cosines = known.vectors @ vector
        cosines[known.folds == fold] = -np.inf
        queues = []
        for label in shown[np.argsort(-asked.likely[shown], kind="stable")]:
            members = np.flatnonzero((known.labels == label) & np.isfinite(cosines))
            queues.append(members[np.argsort(-cosines[members], kind="stable")].tolist())
        picked: list[int] = []
        while len(picked) < self.n_shown and any(queues):
            picked += [queue.pop(0) for queue in queues if queue]
        picked = picked[: self.n_shown]
        order = keyed_rank([str(known.texts[row]) for row in picked], asked.text)
        return [
            (str(known.texts[picked[place]])[:_LONGEST_SHOWN], int(known.labels[picked[place]]))
            for place in order
        ]


@dataclass(frozen=True, slots=True)
class HeardRows:
    """Known rows that a model was measured on.

    Args:
        vectors: (h, d) of them.
        truth: (h,) right label indices.
        factors: (h, k) what it said of them, see `LabelAnswers`.
        folds: (h,) folds; near-duplicates share one.
        groups: (h,) near-duplicates share one; None where that is not known.
    """

    vectors: Vectors
    truth: Integers
    factors: Floats
    folds: Integers
    groups: Objects | None = None


@dataclass(frozen=True, slots=True)
class ModelSay:
    """A model that may say labels.

    Args:
        way: how it is asked.
        weighing: how far it is believed beside the scorer that costs nothing.
        heard: the known rows that this was learned on.
    """

    way: ModelLabels
    weighing: Weighing
    heard: HeardRows | None = None


def measure_centre(answers: LabelAnswers, labels: Integers) -> Floats:
    """(k,) mean over labels of the mean log-probabilities over their texts, of texts with an answer."""
    given = answers.is_given
    logs, labels = np.log(np.maximum(answers.factors[given], _FLOOR)), labels[given]
    return np.asarray(np.mean([logs[labels == label].mean(axis=0) for label in np.unique(labels)], axis=0))


def take_off(answers: LabelAnswers, centre: Floats) -> LabelAnswers:
    """Answers with a centre taken off their logs."""
    centred = np.exp(np.log(np.maximum(answers.factors, _FLOOR)) - centre)
    centred = np.where(answers.is_given[:, None], centred, np.nan)
    centred /= centred.sum(axis=1, keepdims=True)
    return LabelAnswers(centred, centred)
