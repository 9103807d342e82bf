"""The edit without a model: change or delete the words that speak for a record's label.

The lexicon is learned from the training rows: a logistic regression on words gives each word a weight for each label,
and a word that follows a negation counts as another word. To give a text another label its strongest words are taken
in turn: a negation is taken out, a word is replaced by the word of the other label that stands most often between the
same neighbours, and where there is none it is deleted, until the regression changes its mind.

After Yang, Li, Cunningham, Zhang, Smyth, Dong (2021), Exploring the Efficacy of Automatically Generated Counterfactuals
for Sentiment Analysis, whose replacements come from a masked language model and whose words from an opinion lexicon.

    >>> texts = ["good soup", "good bread", "bad soup", "bad bread"] * 5
    >>> lexicon = learn_lexicon(texts, [1, 1, 0, 0] * 5, 2)
    >>> lexicon.edit("A good bread", 0)
    'A bad bread'
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from counterpoise.core.records import Floats, Integers
from counterpoise.students.weights import balance_weights

MOST_EDIT_SHARE = 0.35
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_NEGATIONS = frozenset({"not", "no", "never", "without", "hardly", "nothing"})
_FEWEST_TEXTS = 3  # that a word stands in
_N_REPLACEMENTS = 300  # strongest words of a label that may replace another
_FEWEST_SHARED = 2  # neighbours that word and replacement have in common
_LEAST_WEIGHT = 0.2  # log-odds that a word must be worth to be changed
_MARGIN = 0.5  # log-odds beyond the boundary at which an edit stops


Neighbours: TypeAlias = "Counter[tuple[str, str]]"
"""The words that a word stands between, with the side on which each stands."""


@dataclass(frozen=True, slots=True)
class Replacements:
    """Finds for a strong word of a label the strong word of another one that has most neighbours in common.

    With many labels these are millions of pairs of words, of which edits ask for few: a pair is compared when somebody
    asks for it.

    Args:
        neighbours: word -> its neighbours in the training rows, counted.
        squares: word -> the sum of their squares.
        strong: label -> its strong words, of which no other label has any.
        label_of: strong word -> its label.
    """

    neighbours: Mapping[str, Neighbours]
    squares: Mapping[str, int]
    strong: Mapping[int, Sequence[str]]
    label_of: Mapping[str, int]
    _found: dict[tuple[str, int], str | None] = field(default_factory=dict, compare=False)

    def find(self, word: str, target: int) -> str | None:
        """The word that takes the place of a strong word; None where `word` is none, or has too little in common."""
        if (word, target) not in self._found:
            self._found[word, target] = self._search(word, target)
        return self._found[word, target]

    def _search(self, word: str, target: int) -> str | None:
        mine = self.strong.get(target)
        if not mine or self.label_of.get(word, target) == target:
            return None
        best = max(mine, key=lambda other: (self._compare(word, other), other))
        shared = sum((self.neighbours[word] & self.neighbours[best]).values())
        return best if shared >= _FEWEST_SHARED else None

    def _compare(self, word: str, other: str) -> float:
        """Cosine of the neighbours of two words."""
        small, large = sorted((self.neighbours[word], self.neighbours[other]), key=len)
        product = sum(count * large[name] for name, count in small.items() if name in large)
        return float(product / np.sqrt(self.squares[word] * self.squares[other]))


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words and what they say of the label.

    Args:
        weights: word -> (k,) weights; a word after a negation is written `not_word`.
        intercepts: (k,) of the regression.
        replacements: which word of a label takes a word's place.
    """

    weights: Mapping[str, Floats]
    intercepts: Floats
    replacements: Replacements

    def score(self, text: str) -> Floats:
        """(k,) log-scores of a text, the label shares taken out."""
        total = self.intercepts.copy()
        for name in set(list_features(text)):
            if name in self.weights:
                total += self.weights[name]
        return total

    def edit(self, text: str, target: int) -> str | None:
        """The text with few words changed so that the lexicon holds it for `target`.

        Args:
            text: a record of another label.
            target: index of the label wanted.

        Returns:
            The edited text; None where a third of the words would not do.
        """
        n_most = max(1, int(MOST_EDIT_SHARE * len(_WORD.findall(text))))
        for _ in range(n_most):
            scores = self.score(text)
            rival = int(np.argmax(np.where(np.arange(len(scores)) == target, -np.inf, scores)))
            if scores[target] - scores[rival] >= _MARGIN:
                return text
            changed = self._change_one(text, target, rival)
            if changed is None:
                break
            text = changed
        scores = self.score(text)
        return text if int(scores.argmax()) == target else None

    def _change_one(self, text: str, target: int, rival: int) -> str | None:
        """The text with its strongest word for `rival` changed; None where no word speaks for it."""
        matches = list(_WORD.finditer(text))
        features = list_features(text)
        against = [
            float(self.weights[name][rival] - self.weights[name][target]) if name in self.weights else 0.0
            for name in features
        ]
        if not against or max(against) < _LEAST_WEIGHT:
            return None
        place = int(np.argmax(against))
        if features[place].startswith("not_"):
            return _cut(text, matches[place - 1])
        word = features[place]
        replacement = None if _is_negation(word) else self.replacements.find(word, target)
        if replacement is None:
            return _cut(text, matches[place])
        start, end = matches[place].span()
        written = replacement.capitalize() if text[start].isupper() else replacement
        return text[:start] + written + text[end:]


def learn_lexicon(texts: Sequence[str], labels: Sequence[int] | Integers, n_labels: int) -> Lexicon:
    """Learn words and replacements from training rows.

    Args:
        texts: of the training rows.
        labels: their label indices, two or more different ones.
        n_labels: k.

    Raises:
        ValueError: one label only.
    """
    answers = np.asarray(labels, dtype=np.int64)
    present = np.unique(answers)
    if len(present) < 2:
        raise ValueError("a lexicon needs rows of two labels")
    fewest = min(_FEWEST_TEXTS, max(1, int(np.bincount(answers)[present].min()) // 4))
    vectoriser = CountVectorizer(analyzer=list_features, binary=True, min_df=fewest)
    counts = vectoriser.fit_transform(texts)
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit(counts, answers, sample_weight=balance_weights(answers, n_labels))
    coefficients = np.full((n_labels, counts.shape[1]), 0.0)
    intercepts = np.full(n_labels, -np.inf)
    if len(present) == 2:
        coefficients[present] = np.stack([-model.coef_[0] / 2, model.coef_[0] / 2])
        intercepts[present] = [-model.intercept_[0] / 2, model.intercept_[0] / 2]
    else:
        coefficients[present] = model.coef_
        intercepts[present] = model.intercept_
    names = [str(name) for name in vectoriser.get_feature_names_out()]
    weights = {name: coefficients[:, column].copy() for column, name in enumerate(names)}
    return Lexicon(weights, intercepts, learn_replacements(texts, weights, [int(label) for label in present]))


def list_features(text: str) -> list[str]:
    """The words of a text in lower case; one that follows a negation begins with `not_`."""
    words = [match[0].casefold() for match in _WORD.finditer(text)]
    return [
        f"not_{word}" if place and _is_negation(words[place - 1]) else word
        for place, word in enumerate(words)
    ]


def _is_negation(word: str) -> bool:
    return word in _NEGATIONS or word.endswith(("n't", "n’t"))


def learn_replacements(
    texts: Sequence[str], weights: Mapping[str, Floats], labels: Sequence[int]
) -> Replacements:
    """Learn between which neighbours words stand, and the strong words of each label.

    Args:
        texts: of the training rows.
        weights: word -> (k,) weights.
        labels: those that occur.
    """
    neighbours: dict[str, Neighbours] = {}
    for text in texts:
        words = ["", *list_features(text), ""]
        for left, word, right in zip(words, words[1:], words[2:], strict=False):
            if word in weights and not word.startswith("not_"):
                neighbours.setdefault(word, Counter()).update([("<", left), (">", right)])
    strong = _list_strong(weights, labels, neighbours)
    squares = {word: sum(count**2 for count in counts.values()) for word, counts in neighbours.items()}
    label_of = {word: label for label, words in strong.items() for word in words}
    return Replacements(neighbours, squares, strong, label_of)


def _list_strong(
    weights: Mapping[str, Floats], labels: Sequence[int], neighbours: Mapping[str, Neighbours]
) -> dict[int, list[str]]:
    """Label -> the words that say most for it beside the likeliest other label."""
    strong = {}
    for label in labels:
        others = [other for other in labels if other != label]
        margins = {word: float(weights[word][label] - weights[word][others].max()) for word in neighbours}
        ranked = sorted(
            (word for word, margin in margins.items() if margin > 0), key=lambda word: -margins[word]
        )
        strong[label] = ranked[:_N_REPLACEMENTS]
    return strong


def _cut(text: str, match: re.Match[str]) -> str:
    """The text without one word and the space after it (or before it, at the end)."""
    before, after = text[: match.start()], text[match.end() :]
    if after.startswith(" "):
        after = after[1:]
    elif before.endswith(" "):
        before = before[:-1]
    return (before + after).strip()
