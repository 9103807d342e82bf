"""`CounterpoiseSampler`: written texts for thin labels, with the contract of imbalanced-learn's oversamplers.

from imblearn.pipeline import make_pipeline
model = make_pipeline(CounterpoiseSampler(model="embedded", budget="10k"), TfidfVectorizer(), LogisticRegression())

What comes out is what went in, with the rows that `sampling_strategy` asks for behind it: texts that a run has written
for the label, and rows of the user's again. A pipeline hands no weights on, so a row's weight is how often it is given.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from counterpoise.api import Run, rebalance, resume
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.plans import Kind
from counterpoise.data.sample_tables import LabelColumn, TextTable, read_labels, read_texts, spell_label
from counterpoise.data.sampling_strategies import SampleError, Strategy, count_missing
from counterpoise.llm.config import parse_tokens, read_llm

if TYPE_CHECKING:
    from datasets import Dataset

_JOB_KEYS = (
    "labels",
    "concepts",
    "pool",
    "held_out",
    "metric",
    "rounds",
    "encoder",
    "output",
    "name",
    "cache_dir",
)
"""Parameters that are keys of a job; None leaves the job its own default."""


@dataclass(frozen=True, slots=True)
class _Added:
    """A text that a run has added: its label, weight, and the row of the user's that it stands after."""

    text: str
    label: str
    weight: float
    source: int


class CounterpoiseSampler(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A sampler for texts with the contract of imbalanced-learn: `fit_resample(X, y)`.

    Args:
        model: as `rebalance` takes it: `embedded`, a URL, a chat model of LangChain, an object with `generate`.
        budget: tokens; with 0 and no pool rows are repeated and nothing else happens.
        sampling_strategy: how many rows the labels are to have, as imbalanced-learn's oversamplers take it: `auto`,
            `minority`, `not majority`, `not minority`, `all`, a ratio, a mapping label -> rows, or a function of y.
        random_state: a number or a `RandomState`; None is 0, so that a run can be had again.
        text: name or position of the text column, where X has several columns of texts.
        repeat: give rows again as often as they weigh, so that every label has the rows that were asked for. False
            gives each row once and the weights in `weights_`, for `sample_weight`.
        labels: label -> one line that says what such rows are.
        concepts: as in a job, as are the others below; None is the job's own default.
        pool: unlabelled texts that may be adopted: as X, or as in a job.
        held_out: share of the rows that the run measures itself on; they are given back, too.
        metric: what it chooses by.
        rounds: turns of its loop at most.
        encoder: folder of an encoder.
        output: run directory; by default `runs/sampler-...`, another one for other data or other parameters.
        name: of the run.
        cache_dir: where replies and vectors are kept.
        progress: whether progress is shown; None where somebody looks: on a terminal and in a notebook.

    Attributes:
        run_: the finished run; None where no label lacked rows or nothing could be written.
        sampling_strategy_: label -> rows added.
        sample_indices_: (n_more,) row of X that each returned row is; -1 for a text that is new.
        weights_: (n_more,) weights of the returned rows, for `sample_weight`; 1 with `repeat`.
        n_features_in_: columns of X.
        feature_names_in_: their names, where X is a frame.

    Example:
        >>> sampler = CounterpoiseSampler(model="http://localhost:8000/v1")  # doctest: +SKIP
        >>> X_more, y_more = sampler.fit_resample(X, y)  # doctest: +SKIP
    """

    _estimator_type = "sampler"

    def __init__(
        self,
        *,
        model: Any = "embedded",
        budget: Any = "2M",
        sampling_strategy: Strategy = "auto",
        random_state: Any = None,
        text: Any = None,
        repeat: bool = True,
        labels: Mapping[Any, str] | None = None,
        concepts: Any = None,
        pool: Any = None,
        held_out: Any = None,
        metric: str | None = None,
        rounds: int | None = None,
        encoder: str | None = None,
        output: str | None = None,
        name: str | None = None,
        cache_dir: str | None = None,
        progress: bool | None = None,
    ) -> None:
        self.model = model
        self.budget = budget
        self.sampling_strategy = sampling_strategy
        self.random_state = random_state
        self.text = text
        self.repeat = repeat
        self.labels = labels
        self.concepts = concepts
        self.pool = pool
        self.held_out = held_out
        self.metric = metric
        self.rounds = rounds
        self.encoder = encoder
        self.output = output
        self.name = name
        self.cache_dir = cache_dir
        self.progress = progress

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Check X and y and what they lack; use `fit_resample`."""
        self._check(X, y)
        return self

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:  # noqa: N803
        """Resample texts.

        Args:
            X: n texts (list, tuple, array, Series), or rows of several columns of which one holds texts (frame, array,
                list of rows).
            y: n labels: texts, numbers, booleans or categories, or n rows with a single 1 in the label's place.

        Returns:
            X and y as they came (a frame for a frame, with a new index), and the added rows behind them. The other
            columns of a written row are those of one of the rows it was written after.

        Raises:
            JobError: X and y do not fit one another or the parameters; a `ValueError`, too.
            UserError: any other mistake in the data.
            ServiceError: a server, a download or a disk failed; call again to go on.
        """
        table, labels, missing = self._check(X, y)
        seed = self._draw_seed()
        generator = np.random.default_rng(seed)
        self.run_: Run | None = None
        added: list[_Added] = []
        if any(missing.values()) and (self.pool is not None or not self._has_no_tokens()):
            self.run_ = self._run(table, labels, missing, seed)
            added = _list_added(self.run_.dataset["train"], table, labels, generator)
        named = dict(zip(labels.values, labels.names, strict=True))
        own = _weigh_own(self.run_, labels)
        sources: list[int] = []
        texts: list[str | None] = []
        weights = np.ones(len(labels.names))
        more: list[float] = []
        for label, n_missing in missing.items():
            rows = np.array([row for row, name in enumerate(labels.names) if name == named[label]])
            new = [one for one in added if one.label == named[label]]
            total = len(rows) + n_missing
            if self.repeat:
                extra, copies = _share_out(total, rows, own[rows], new, generator)
                sources += [*extra, *(new[place].source for place in copies)]
                texts += [*[None] * len(extra), *(new[place].text for place in copies)]
            else:
                mass = own[rows].sum() + sum(one.weight for one in new)
                sources += [one.source for one in new]
                texts += [one.text for one in new]
                weights[rows] = own[rows] * total / mass
                more += [one.weight * total / mass for one in new]
        self.weights_ = np.concatenate([weights, more or np.ones(len(sources))])
        is_new = np.array([text is not None for text in texts], dtype=np.bool_)
        again = np.where(is_new, -1, np.array(sources, dtype=np.int64))
        self.sample_indices_ = np.concatenate([np.arange(len(labels.names)), again])
        return table.extend(sources, texts), labels.extend(sources)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the returned columns: those of X.

        Args:
            input_features: names to use where X had none, or those of X.

        Raises:
            ValueError: they are others than those of X, or of another number.
            NotFittedError: before `fit_resample`.
        """
        from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

        check_is_fitted(self, "n_features_in_")
        names: NDArray[np.object_] = _check_feature_names_in(self, input_features)
        return names

    def __sklearn_clone__(self) -> Self:
        """A copy with the same parameters; a model that is an object is shared, as copies of it may not be had."""
        twin = type(self)(**{**self.get_params(deep=False), "model": "embedded"})
        if hasattr(self, "_metadata_request"):
            twin._metadata_request = self._metadata_request
        copy: Self = BaseEstimator.__sklearn_clone__(twin)
        copy.model = self.model
        return copy

    def __sklearn_tags__(self) -> Any:
        """It takes texts, in one or two dimensions, and needs labels."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = "sampler"
        tags.target_tags.required = True
        imblearn = sys.modules.get("imblearn.utils._tags")
        if imblearn is not None:  # its own checks look for more than scikit-learn's
            tags = imblearn.Tags(
                estimator_type="sampler",
                target_tags=tags.target_tags,
                transformer_tags=None,
                classifier_tags=None,
                regressor_tags=None,
                sampler_tags=imblearn.SamplerTags(sample_indices=True),
                input_tags=imblearn.InputTags(dataframe=True),
            )
        tags.input_tags.one_d_array, tags.input_tags.two_d_array, tags.input_tags.string = True, False, True
        return tags

    def _check(self, X: Any, y: Any) -> tuple[TextTable, LabelColumn, dict[Any, int]]:  # noqa: N803
        """Read X and y; sets what is known before anything is written."""
        labels = read_labels(y)
        missing = count_missing(self.sampling_strategy, labels.values, y)
        table = read_texts(X, self.text)
        if len(table.texts) != len(labels.names):
            found = f"{len(table.texts)} texts and {len(labels.names)} labels"
            raise SampleError(found, where="fit_resample", hint="give one label a text")
        self.sampling_strategy_ = missing
        self.n_features_in_ = table.n_features
        if table.names is not None:
            self.feature_names_in_ = np.array(table.names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return table, labels, missing

    def _draw_seed(self) -> int:
        """The number that decides what is drawn."""
        given = self.random_state
        if given is None or (isinstance(given, int | np.integer) and not isinstance(given, bool)):
            return int(given or 0)
        return int(check_random_state(given).randint(2**31 - 1))

    def _has_no_tokens(self) -> bool:
        budget = self.budget.get("tokens") if isinstance(self.budget, Mapping) else self.budget
        return budget is not None and parse_tokens(budget) == 0

    def _run(self, table: TextTable, labels: LabelColumn, missing: Mapping[Any, int], seed: int) -> Run:
        """The run that writes; one that is finished for the same data and parameters is read back."""
        counts = {name: labels.names.count(name) for name in dict.fromkeys(labels.names)}
        named = dict(zip(labels.values, labels.names, strict=True))
        wanted = {name: float(n) for name, n in counts.items()}
        wanted |= {named[label]: float(counts[named[label]] + n) for label, n in missing.items()}
        keys = {name: getattr(self, name) for name in _JOB_KEYS if getattr(self, name) is not None}
        keys |= {"budget": self.budget, "seed": seed}
        if self.labels is not None:
            keys["labels"] = {spell_label(label): line for label, line in self.labels.items()}
        if self.pool is not None and not isinstance(self.pool, str | Path | Mapping):
            keys["pool"] = {"text": read_texts(self.pool, self.text).texts}
        if len(set(wanted.values())) > 1:
            keys["target"] = wanted
        llm = read_llm(self.model)
        data = {"text": table.texts, "label": labels.names}
        is_named = bool({"name", "output"} & set(keys))
        if not is_named:
            from counterpoise import __version__

            said = repr((__version__, data, llm.engine, llm.url, llm.model, sorted(keys.items(), key=str)))
            digest = hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
            keys["name"] = f"sampler-{digest}"
        folder = Path(keys.get("output") or Path("runs") / keys["name"])
        locks = find_cache_dir(self.cache_dir) / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        place = hashlib.blake2b(str(folder.absolute()).encode(), digest_size=8).hexdigest()
        # Searches over parameters of later steps ask for the same run, from several processes perhaps.
        with FileLock(locks / f"{place}.lock"):
            if not is_named and (folder / "FINISHED").is_file():
                return resume(folder)
            return rebalance(
                data, text="text", label="label", model=self.model, progress=self.progress, **keys
            )


def _list_added(
    train: Dataset, table: TextTable, labels: LabelColumn, generator: np.random.Generator
) -> list[_Added]:
    """What the run has added, each with a row of the user's of the same label that it stands after."""
    rows = train.select_columns(["text", "label", "weight", "provenance"]).to_list()
    places: dict[tuple[str, str], int] = {}
    for place, key in enumerate(zip(table.texts, labels.names, strict=True)):
        places.setdefault(key, place)
    ids = {
        row["provenance"]["id"]: places.get((row["text"], str(row["label"])))
        for row in rows
        if row["provenance"]["kind"] == Kind.ORIGINAL
    }
    of_label: dict[str, list[int]] = {}
    for place, name in enumerate(labels.names):
        of_label.setdefault(name, []).append(place)
    given = set(table.texts)  # with a pool of the rest of the data, an adopted row is one of these
    added = []
    for row in rows:
        name = str(row["label"])
        if row["provenance"]["kind"] == Kind.ORIGINAL or row["text"] in given:
            continue
        parents = [ids.get(parent) for parent in row["provenance"]["parents"]]
        known = [place for place in parents if place is not None and labels.names[place] == name]
        source = known[0] if known else int(generator.choice(of_label[name]))
        added.append(_Added(row["text"], name, float(row["weight"]), source))
    return added


def _weigh_own(run: Run | None, labels: LabelColumn) -> NDArray[np.float64]:
    """The weight of each of the user's rows: what its run gives the rows of its label."""
    if run is None:
        return np.ones(len(labels.names))
    train = run.dataset["train"].select_columns(["label", "weight", "provenance"]).to_list()
    by_label = {
        str(row["label"]): float(row["weight"]) for row in train if row["provenance"]["kind"] == Kind.ORIGINAL
    }
    return np.array([by_label.get(name, 1.0) for name in labels.names])


def _share_out(
    total: int,
    rows: NDArray[np.int64],
    weights: NDArray[np.float64],
    new: Sequence[_Added],
    generator: np.random.Generator,
) -> tuple[list[int], list[int]]:
    """So many rows of one label, each about as often as it weighs, the user's own once at least.

    Returns:
        The user's rows to give again, and places of the new ones to give.
    """
    mass = np.array([one.weight for one in new])
    share = mass.sum() / (mass.sum() + weights.sum())
    n_new = min(round(total * share), total - len(rows))
    copies = _repeat(n_new, mass, generator) if len(new) else np.zeros(0, dtype=np.int64)
    extra = _repeat(total - len(rows) - int(copies.sum()), weights, generator)
    return np.repeat(rows, extra).tolist(), np.repeat(np.arange(len(new)), copies).tolist()


def _repeat(n: int, weights: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.int64]:
    """How often each row is given, n times in all and in the ratio of the weights; who gets what is left is drawn."""
    exact = n * weights / weights.sum()
    copies: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    order = generator.permutation(len(weights))
    left = order[np.argsort(-(exact - copies)[order], kind="stable")]
    copies[left[: n - int(copies.sum())]] += 1
    return copies
