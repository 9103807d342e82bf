"""A recipe that is a prompt: examples, a question with lettered answers, and a model that picks the letter.

A model leans to some letters and labels whatever it reads, and a skewed prompt makes it lean more. So the
log-probabilities of the labels are centred: what the model says of the run's own texts on average, each label counted
alike, is taken off (after Zhao et al., 2021, Calibrate Before Use, with real texts in place of empty ones).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.errors import JobError, ServerError
from counterpoise.core.event_kinds import Warned
from counterpoise.core.events import tell_event
from counterpoise.core.interrupts import run_alone
from counterpoise.core.label_spellings import spell_value
from counterpoise.core.records import Floats, Integers
from counterpoise.llm import BudgetSpent, ReplyStore, TokenBudget
from counterpoise.llm.capabilities import learn_manner
from counterpoise.llm.config import parse_tokens, read_llm
from counterpoise.llm.connect import open_models
from counterpoise.llm.letters import are_written
from counterpoise.llm.prompts import load_prompt
from counterpoise.report.progress import open_progress
from counterpoise.runs.recipe.data import RecipeData
from counterpoise.runs.recipe.examples import choose_examples, draw_even
from counterpoise.runs.recipe.reading import read_texts, read_training
from counterpoise.scorers.letters import LETTERS, WHICH_LABEL, LetterChoice
from counterpoise.students.linear import PROBABILITY_FLOOR

IN_CONTEXT = "in_context"
_PROMPT = "in_context_choice"
_WHERE = f"recipe '{IN_CONTEXT}'"


class PromptRecipe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Examples from a run as a prompt, with a model that answers, as a classifier of texts.

    Each text is asked about twice, the answers in both orders (see `LetterChoice`). Replies are kept in the cache
    folder, so a text is paid for once.

    Args:
        data: the rows of a run.
        model: as `rebalance` takes it.
        k: examples, as many of each label; within a label half with and half without each concept of the run; rows
            whose label is known to be right come first.
        n_centre: own texts, as many of each label, that the log-probabilities are centred on; 0 for no centring.
        budget: tokens that one call of `fit` or `predict` may use, as a number or `500k`.
        seed: another one draws other examples.
        cache_dir: where replies are kept; None for the user's cache folder.

    Attributes:
        classes_: (k,) the labels, sorted.
        examples_: (text, label) of each example, in the order in which they are shown.
        gives_log_probabilities_: whether the model's server gave them. Where it does not, the letter that is
            written counts 0.9, and nothing is centred.
    """

    classes_: np.ndarray[Any, Any]

    def __init__(
        self,
        *,
        data: RecipeData | None = None,
        model: Any = "embedded",
        k: int = 16,
        n_centre: int = 32,
        budget: str | int = "500k",
        seed: int = 0,
        cache_dir: Path | None = None,
    ) -> None:
        self.data = data
        self.model = model
        self.k = k
        self.n_centre = n_centre
        self.budget = budget
        self.seed = seed
        self.cache_dir = cache_dir

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: N803
        """Choose the examples, and ask the model about the texts that its answers are centred on.

        Args:
            X: as for `Recipe.fit`.
            y: likewise.

        Raises:
            UserError: there is nothing to choose from, or the budget does not reach.
            ServiceError: the server is gone.
        """
        data = read_training(X, y, self.data)
        n_labels = len(data.classes)
        if not 2 <= n_labels <= len(LETTERS):
            hint = f"it takes 2 to {len(LETTERS)}"
            raise JobError(f"found {n_labels} labels", where=_WHERE, hint=hint)
        if self.k < n_labels:
            hint = f"give k={n_labels} or more"
            raise JobError(f"{self.k} examples for {n_labels} labels", where=_WHERE, hint=hint)
        self.data_ = data
        self._rows = choose_examples(data, self.k, f"in context {self.seed}")
        self.examples_ = [(str(data.texts[row]), data.classes[data.labels[row]]) for row in self._rows]
        self.classes_ = np.unique(np.array(list(data.classes)))
        places = {spell_value(value): place for place, value in enumerate(data.classes)}
        self._order = np.array([places[spell_value(value)] for value in self.classes_.tolist()])
        self.gives_log_probabilities_ = True
        self._centre: Floats = np.zeros(n_labels)
        centre = draw_even(data, self.n_centre, self._rows, f"centre {self.seed}")
        if len(centre):
            self._centre = self._measure_centre(centre)
        return self

    def render(self, text: str) -> str:
        """The prompt about a text, its messages one below the other: what is sent for the answers in their order."""
        check_is_fitted(self)
        options = list(zip(LETTERS, self._name_answers(), strict=False))
        request = load_prompt(_PROMPT).render(
            question=WHICH_LABEL, options=options, examples=self._list_examples(), text=text
        )
        return "\n\n".join(message.content for message in request.messages)

    def predict_log_proba(self, X: Any) -> Floats:  # noqa: N803
        """(m, k) logs of `predict_proba`.

        Raises:
            JobError: the budget does not reach for all texts; what was answered is kept.
            ServiceError: the server is gone, or leaves texts without an answer.
        """
        check_is_fitted(self)
        texts = read_texts(X, self.data_.text_columns)
        logs = self._ask(texts) - self._centre
        return np.asarray(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))[:, self._order]

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """(m, k) centred probabilities, in the order of `classes_`; see `predict_log_proba`."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> np.ndarray[Any, Any]:  # noqa: N803
        """(m,) the likeliest label after centring; see `predict_log_proba`."""
        return np.asarray(self.classes_[self.predict_log_proba(X).argmax(axis=1)])

    def save(self, path: str | Path) -> Path:
        """Refuse: a model is no part of a file.

        Raises:
            JobError: always; says what to keep instead.
        """
        raise JobError(
            "a prompt is not saved as a recipe: the model that answers it is no part of a file",
            where=str(path),
            hint="keep the run and call run.recipe('in_context') again, or keep what render(text) gives",
        )

    def _measure_centre(self, rows: Integers) -> Floats:
        """(k,) mean log-probabilities over labels of the means over their rows; zeros where letters are written."""
        logs = self._ask([str(self.data_.texts[row]) for row in rows])
        if not self.gives_log_probabilities_:
            line = "the model gives no log-probabilities: the letters that it writes count, and nothing is centred"
            with open_progress(None, None):
                tell_event(Warned(line))
            return np.zeros(logs.shape[1])
        labels = self.data_.labels[rows]
        return np.asarray(
            np.mean([logs[labels == label].mean(axis=0) for label in np.unique(labels)], axis=0)
        )

    def _ask(self, texts: list[str]) -> Floats:
        """(m, k) mean log-probabilities of the two orders, labels by their indices."""
        if not texts:
            return np.zeros((0, len(self.data_.classes)))
        budget = TokenBudget(parse_tokens(self.budget))
        cache, config = find_cache_dir(self.cache_dir), read_llm(self.model)
        answers, examples = self._name_answers(), self._list_examples()
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}

        async def ask() -> tuple[Floats, int]:
            with ReplyStore(cache / "replies.sqlite") as store:
                async with open_models(config, store=store, budget=budget, cache_dir=cache) as models:
                    await learn_manner(models.chat)
                    choice = LetterChoice(models.chat, answers, _PROMPT, IN_CONTEXT)
                    pairs = [choice.make_requests(text, WHICH_LABEL, examples=examples) for text in places]
                    expected = sum(models.chat.estimate(request) for pair in pairs for request in pair)
                    return await choice.ask(pairs), expected

        try:
            found, expected = run_alone(ask)
        except BudgetSpent as spent:
            raise self._explain_budget(str(spent)) from spent
        silent = int(np.isnan(found).any(axis=(0, 2)).sum())
        if silent:
            what = f"{silent:,} of {len(places):,} texts have no answer"
            if expected > (budget.limit or 0):
                raise self._explain_budget(f"{what}, and all of them take {expected:,} at most")
            raise ServerError(what, where=_WHERE, hint="call again: what was answered is kept")
        self.gives_log_probabilities_ &= not are_written(found).any()
        logs = np.log(np.maximum(found, PROBABILITY_FLOOR)).mean(axis=0)
        return np.asarray(logs[[places[text] for text in texts]])

    def _explain_budget(self, what: str) -> JobError:
        found = f"the budget of {self.budget} tokens for one call is spent: {what}"
        return JobError(found, where=_WHERE, hint="give a larger budget and call again: answers are kept")

    def _name_answers(self) -> tuple[str, ...]:
        """A line a label, with the label in front where two have the same."""
        lines = self.data_.descriptions
        if len(set(lines)) == len(lines):
            return lines
        return tuple(
            f"{spell_value(one)}: {line}" for one, line in zip(self.data_.classes, lines, strict=True)
        )

    def _list_examples(self) -> list[tuple[str, str]]:
        answers = self._name_answers()
        return [(str(self.data_.texts[row]), answers[self.data_.labels[row]]) for row in self._rows]

    def __sklearn_tags__(self) -> Any:
        """Texts are what it takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Whether it has examples."""
        return hasattr(self, "examples_")
