"""The sampler: what comes out is what went in, as many rows as were asked for, and the checks of the field."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import Pipeline
from imblearn.utils import estimator_checks as imblearn_checks
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.utils import estimator_checks as sklearn_checks
from threadpoolctl import threadpool_limits

from counterpoise import CounterpoiseSampler, sampler
from counterpoise.core.assets import ensure_asset, find_cache_dir
from counterpoise.core.errors import JobError
from counterpoise.llm import ScriptedChatClient
from tests.made_up import write_sentence, write_sentences
from tests.servers import Body, LocalServer, draw_seed, hash_body

pytestmark = pytest.mark.processes

TEXTS, LABELS = write_sentences(12, 40, 21)
FREE = CounterpoiseSampler(budget=0)
SHORT = [f"text {place}" for place in range(10)]

FEATURES: dict[str, Any] = {
    "list": SHORT,
    "tuple": tuple(SHORT),
    "rows": [[text, place] for place, text in enumerate(SHORT)],
    "array": np.array(SHORT),
    "objects": np.array(SHORT, dtype=object),
    "column": np.array(SHORT, dtype=object)[:, None],
    "series": pd.Series(SHORT, name="review", index=range(50, 60)),
    "series of objects": pd.Series(SHORT, name="review", dtype=object),
    "series of categories": pd.Series(SHORT, name="review", dtype="category"),
    "frame": pd.DataFrame({"review": SHORT}, index=list("abcdefghij")),
    "wide frame": pd.DataFrame(
        {"stars": np.arange(10, dtype=np.int8), "review": SHORT, "on": [True, False] * 5}
    ),
}
ANSWERS: dict[str, Any] = {
    "list": ["a"] * 7 + ["b"] * 3,
    "numbers": [1] * 7 + [0] * 3,
    "array": np.array([1] * 7 + [0] * 3, dtype=np.int16),
    "booleans": np.array([True] * 7 + [False] * 3),
    "whole floats": np.array([1.0] * 7 + [0.0] * 3),
    "texts": np.array(["a"] * 7 + ["b"] * 3),
    "series": pd.Series(["a"] * 7 + ["b"] * 3, name="label", index=range(90, 100)),
    "categories": pd.Series(pd.Categorical(["a"] * 7 + ["b"] * 3, categories=["b", "a", "c"], ordered=True)),
    "frame": pd.DataFrame({"label": [1] * 7 + [0] * 3}),
    "column": np.array([[1]] * 7 + [[0]] * 3),
}


def describe(value: Any) -> tuple[Any, ...]:
    """Everything about a container but how many rows it has."""
    if isinstance(value, pd.DataFrame):
        return type(value), list(value.columns), [str(kind) for kind in value.dtypes]
    if isinstance(value, pd.Series):
        return type(value), value.name, "category" if str(value.dtype) == "category" else value.dtype
    if isinstance(value, np.ndarray):
        return type(value), value.dtype.kind, value.shape[1:]
    return type(value), type(value[-1]), len(value[-1]) if isinstance(value[-1], list) else 0


def list_texts(X: Any) -> list[str]:  # noqa: N803
    if isinstance(X, pd.DataFrame):
        return list(X["review"])
    return [row[0] if isinstance(row, list | np.ndarray) else row for row in X]


@pytest.mark.parametrize("kind", FEATURES)
def test_what_comes_out_is_what_went_in(kind: str) -> None:
    given = FEATURES[kind]
    X, y = FREE.fit_resample(given, ANSWERS["list"])  # noqa: N806
    assert describe(X) == describe(given) and len(X) == 14
    assert list_texts(X)[:10] == SHORT and set(list_texts(X)[10:]) <= set(SHORT[7:])
    assert y == ["a"] * 7 + ["b"] * 7
    if isinstance(X, pd.DataFrame | pd.Series):
        assert list(X.index) == list(range(14)), "a new index, as imbalanced-learn has it"


@pytest.mark.parametrize("kind", ANSWERS)
def test_labels_come_back_as_they_were(kind: str) -> None:
    given = ANSWERS[kind]
    _, y = FREE.fit_resample(SHORT, given)
    assert describe(y) == describe(given) and len(y) == 14
    if isinstance(given, pd.Series) and kind == "categories":
        assert y.dtype == given.dtype, "categories that no row has, and their order, too"
    _, y_plain = FREE.fit_resample(SHORT, ANSWERS["array"])
    assert Counter(np.asarray(y_plain).tolist()) == {1: 7, 0: 7}


def test_a_written_text_stands_in_the_place_of_a_row_it_was_written_after() -> None:
    """Every container takes longer and new texts, and keeps types and other columns."""
    from counterpoise.data.sample_tables import read_texts

    long = "a text that is longer than every other one"
    for given in FEATURES.values():
        X = read_texts(given).extend([8, 9], [None, long])  # noqa: N806
        assert list_texts(X)[10:] == ["text 8", long] and describe(X) == describe(given)
    wide = read_texts(FEATURES["wide frame"]).extend([9], [long])
    assert wide.iloc[10].to_dict() == {"stars": 9, "review": long, "on": False}
    twins = pd.DataFrame([["x", 1, 2]] * 4, columns=["t", "n", "n"])
    assert read_texts(twins).extend([0], ["y"]).iloc[4].tolist() == ["y", 1, 2]


@pytest.mark.parametrize(
    "strategy",
    [
        "auto",
        "minority",
        "not majority",
        "not minority",
        "all",
        {"b": 20},
        {"b": 20, "c": 9},
        {"a": 50, "b": 50},
        lambda y: {"c": 12},
    ],
)
def test_as_many_rows_as_imbalanced_learn_would_add(strategy: Any) -> None:
    labels = ["a"] * 30 + ["b"] * 12 + ["c"] * 5
    X = np.array([[f"text {place}"] for place in range(47)], dtype=object)  # noqa: N806
    theirs = RandomOverSampler(sampling_strategy=strategy, random_state=0)
    ours = CounterpoiseSampler(budget=0, sampling_strategy=strategy)
    assert Counter(ours.fit_resample(X, labels)[1]) == Counter(theirs.fit_resample(X, labels)[1])
    assert ours.sampling_strategy_ == theirs.sampling_strategy_


def test_a_ratio_is_for_two_labels() -> None:
    ours = CounterpoiseSampler(budget=0, sampling_strategy=0.8)
    assert Counter(ours.fit_resample(SHORT, ANSWERS["list"])[1]) == {"a": 7, "b": 5}
    with pytest.raises(ValueError, match="a ratio with 3 labels"):
        ours.fit_resample(SHORT, list("aaaaaabbcc"))


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("most", "write one of auto, all, minority"),
        ({"b": 2}, "2 rows are asked for 'b', which has 3"),
        ({"z": 9}, "label 'z' is not present in y; y has 'a', 'b'"),
        ({"b": 4.5}, "whole number"),
        (2.0, "a ratio above 0 and up to 1"),
        (0.2, "a larger ratio"),
        (lambda y: 3, "a function gives a mapping"),
    ],
)
def test_a_strategy_that_cannot_be_followed_is_said(strategy: Any, said: str) -> None:
    ours = CounterpoiseSampler(budget=0, sampling_strategy=strategy)
    with pytest.raises(ValueError, match=said) as caught:
        ours.fit_resample(SHORT, ANSWERS["list"])
    assert isinstance(caught.value, JobError)


@pytest.mark.parametrize(
    ("X", "y", "said"),
    [
        (["a", "b", "c"], [0, 1], "3 texts and 2 labels"),
        (["a", None], [0, 1], "row 2 of X is None, no text"),
        (["a", "b"], [0, None], "row 2 of y is missing"),
        (["a", "b"], [0.5, 0.7], "Unknown label type"),
        (["a", "b"], ["1", 1], "two labels that are written '1'"),
        (["a", "b"], [[1, 1], [0, 1]], "Multilabel"),
        (["a", "b"], [1, 1], "more than 1 class"),
        (
            np.array([["a", "b"], ["c", "d"]]),
            [0, 1],
            r"2 columns, and 2 of them hold texts: 0, 1; name the text",
        ),
        (np.random.default_rng(0).random((2, 2)), [0, 1], "0 of them hold texts"),
        (pd.DataFrame({"a": ["x", "y"], "b": ["x", "y"]}), [0, 1], "hold texts: 'a', 'b'"),
        ("ab", [0, 1], "X is a str"),
        ([["a"], ["b", "c"]], [0, 1], "rows of 2 lengths"),
    ],
)
def test_what_is_no_texts_with_labels_is_said(X: Any, y: Any, said: str) -> None:  # noqa: N803
    with pytest.raises(ValueError, match=said):
        FREE.fit_resample(X, y)


def test_the_text_column_is_named_where_there_are_several() -> None:
    frame = pd.DataFrame({"title": ["t"] * 10, "review": SHORT})
    X, _ = clone(FREE).set_params(text="review").fit_resample(frame, ANSWERS["list"])  # noqa: N806
    assert list(X["review"][:10]) == SHORT
    with pytest.raises(ValueError, match=r"no column 'body'; its columns are 'title', 'review'"):
        clone(FREE).set_params(text="body").fit_resample(frame, ANSWERS["list"])


def test_parameters_are_those_of_scikit_learn() -> None:
    class Locked:
        """A model that cannot be copied, as many clients cannot."""

        name = "locked"

        def generate(self, request: Any) -> Any: ...

        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("cannot pickle '_thread.lock' object")

    labels = {0: "bad", 1: "good"}
    ours = CounterpoiseSampler(model=Locked(), budget="9k", labels=labels, random_state=3)
    copy = clone(ours)
    assert copy is not ours and copy.model is ours.model and copy.labels is not labels
    assert copy.get_params() == ours.get_params()
    assert copy.set_params(budget=5, name="other") is copy and (copy.budget, ours.budget) == (5, "9k")
    with pytest.raises(ValueError, match="Invalid parameter 'budgett'"):
        copy.set_params(budgett=5)
    with pytest.raises(TypeError, match="budgett"):
        CounterpoiseSampler(budgett=5)  # type: ignore[call-arg]
    assert repr(CounterpoiseSampler(budget=0)) == "CounterpoiseSampler(budget=0)"


def test_what_is_known_after_fitting() -> None:
    ours = clone(FREE)
    with pytest.raises(NotFittedError):
        ours.get_feature_names_out()
    X, y = ours.fit_resample(FEATURES["wide frame"], ANSWERS["array"])  # noqa: N806
    assert (ours.n_features_in_, list(ours.feature_names_in_)) == (3, ["stars", "review", "on"])
    assert list(ours.get_feature_names_out()) == ["stars", "review", "on"]
    assert ours.sample_indices_.tolist()[:10] == list(range(10)) and set(ours.sample_indices_[10:]) <= {
        7,
        8,
        9,
    }
    assert ours.run_ is None and ours.weights_.tolist() == [1.0] * 14
    assert np.array_equal(y, ANSWERS["array"][ours.sample_indices_]) and len(X) == 14
    again = pickle.loads(pickle.dumps(ours))
    assert again.fit_resample(SHORT, ANSWERS["list"])[1] == ours.fit_resample(SHORT, ANSWERS["list"])[1]
    assert not hasattr(ours.fit(SHORT, ANSWERS["list"]), "feature_names_in_")


def test_the_same_random_state_gives_the_same_rows() -> None:
    def draw(state: Any) -> list[str]:
        return list(CounterpoiseSampler(budget=0, random_state=state).fit_resample(SHORT, ANSWERS["list"])[0])

    assert draw(1) == draw(1) == draw(np.int64(1)) and draw(None) == draw(0)
    assert len({tuple(draw(state)) for state in range(9)}) > 1
    state = np.random.RandomState(5)
    assert len({tuple(draw(state)) for _ in range(9)}) > 1, "a state goes on"


# --- the checks of imbalanced-learn and scikit-learn ---------------------------------------------------------------

NUMBERS = "draws numbers, and there are no texts in them"
IMBLEARN_EXCEPTIONS = {
    "check_samplers_fit": NUMBERS,
    "check_samplers_preserve_dtype": "casts texts to float32; types of texts are tested above",
    "check_samplers_pandas_sparse": "sparse frames hold numbers",
}
SKLEARN_EXCEPTIONS = {
    **dict.fromkeys(
        (
            "check_estimators_overwrite_params",
            "check_dont_overwrite_parameters",
            "check_estimators_fit_returns_self",
            "check_readonly_memmap_input",
            "check_estimators_dtypes",
            "check_dtype_object",
            "check_pipeline_consistency",
            "check_estimators_nan_inf",
            "check_estimators_pickle",
            "check_f_contiguous_array_estimator",
            "check_methods_sample_order_invariance",
            "check_methods_subset_invariance",
            "check_fit2d_1feature",
            "check_dict_unchanged",
            "check_fit_idempotent",
            "check_fit_check_is_fitted",
            "check_n_features_in",
            "check_positive_only_tag_during_fit",
            "check_n_features_in_after_fitting",
            "check_array_api_input",
            "check_estimators_empty_data_messages",
            "check_complex_data",
            "check_fit2d_predict1d",
            "check_fit_score_takes_y",
        ),
        NUMBERS,
    ),
}


class Unfiltered(CounterpoiseSampler):
    """Says that it takes a matrix only, so that scikit-learn lists all of its checks."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = False, True
        return tags


def name_check(check: Any) -> str:
    return str(check.func.__name__ if isinstance(check, partial) else check.__name__)


def write_table() -> tuple[Any, Any]:
    labels = np.random.default_rng(0).choice(3, 300, p=[0.2, 0.3, 0.5])
    return np.array([[f"text {place}"] for place in range(300)], dtype=object), labels


@pytest.mark.parametrize(
    "check", [name_check(check) for _, check in imblearn_checks.estimator_checks_generator(FREE)]
)
def test_the_checks_of_imbalanced_learn(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if check in IMBLEARN_EXCEPTIONS:
        pytest.skip(IMBLEARN_EXCEPTIONS[check])
    # The same checks on texts: where they draw numbers they are given rows with a text, and compare what is equal.
    monkeypatch.setattr(imblearn_checks, "sample_dataset_generator", write_table)
    monkeypatch.setattr(imblearn_checks, "assert_allclose", np.testing.assert_array_equal)
    monkeypatch.setattr(imblearn_checks, "BaseOverSampler", CounterpoiseSampler)
    getattr(imblearn_checks, check)("CounterpoiseSampler", CounterpoiseSampler(budget=0, random_state=0))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_checks_of_scikit_learn() -> None:
    listed = list(sklearn_checks.estimator_checks_generator(Unfiltered(budget=0)))
    names = {name_check(check) for _, check in listed}
    ran = set()
    for estimator, check in listed:
        if name_check(check) not in SKLEARN_EXCEPTIONS:
            check(estimator)
            ran.add(name_check(check))
    assert {
        "check_estimator_cloneable",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_get_params_invariance",
        "check_set_params",
        "check_estimator_repr",
    } <= ran
    assert len(ran) + len(names & set(SKLEARN_EXCEPTIONS)) == len(names)


# --- with a model ----------------------------------------------------------------------------------------------------


def reply(body: Body, index: int) -> str:
    source = random.Random(draw_seed(hash_body(body), index))
    return write_sentence(source, good=str(body.get("prompt", "")).startswith(("good", "1")))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("sampler")
    for name in ("minilm-l6-v2", "minilm-l6-v2-tokenizer"):
        ensure_asset(name)
    (folder / "cache").mkdir()
    (folder / "cache" / "assets").symlink_to(find_cache_dir(None) / "assets", target_is_directory=True)
    with threadpool_limits(1), LocalServer(reply) as server:
        shared = {"model": server.url, "cache_dir": str(folder / "cache"), "budget": "20k", "rounds": 1}
        yield lambda: dict(shared)


@pytest.mark.assets
def test_a_frame_goes_through_a_pipeline_and_a_search_asks_for_one_run(
    keys: Callable[[], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"stars": np.arange(52), "review": TEXTS})
    ours = CounterpoiseSampler(**keys())
    words = ColumnTransformer([("words", TfidfVectorizer(), "review")])
    steps = [("more", ours), ("words", words), ("model", LogisticRegression())]
    whole = [(np.arange(52), np.arange(52))]
    search = GridSearchCV(Pipeline(steps), {"model__C": [1, 3]}, cv=whole, refit=False)
    search.fit(frame, pd.Series(LABELS, name="good"))
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()
    assert len(list((tmp_path / "runs").iterdir())) == 1, "another C asks for no other run"

    X, y = clone(ours).fit_resample(frame, LABELS)  # noqa: N806
    assert list(X.columns) == ["stars", "review"] and X["stars"].dtype == frame["stars"].dtype
    assert Counter(y) == {0: 40, 1: 40} and X.iloc[:52].equals(frame)
    added = X.iloc[52:]
    new = added[~added["review"].isin(TEXTS)]
    assert len(new) >= 5 and set(new["stars"]) <= set(range(12)), (
        "other columns are those of a row of the label"
    )
    assert set(added["review"]) & set(TEXTS[:12]), "the user's own rows weigh more and are repeated"

    once = clone(ours).set_params(repeat=False)
    X_once, y_once = once.fit_resample(TEXTS, LABELS)  # noqa: N806
    assert len(set(X_once)) == len(X_once) == len(once.weights_) == len(once.sample_indices_)
    masses = {label: once.weights_[np.array(y_once) == label].sum() for label in (0, 1)}
    assert masses == pytest.approx({0: 40.0, 1: 40.0}), "the same balance, by weights"
    assert (once.sample_indices_[52:] == -1).all() and once.run_ is not None
    assert once.run_.dataset["held_out"].num_rows > 0
    LogisticRegression().fit(TfidfVectorizer().fit_transform(X_once), y_once, sample_weight=once.weights_)


@pytest.mark.assets
def test_rows_of_a_pool_are_adopted(
    keys: Callable[[], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pool, _ = write_sentences(30, 10, 99)
    ours = CounterpoiseSampler(**keys() | {"budget": 0, "pool": pd.Series(pool)})
    X, y = ours.fit_resample(TEXTS, LABELS)  # noqa: N806
    assert set(X) - set(TEXTS) <= set(pool) and len(set(X) - set(TEXTS)) > 5
    assert Counter(y) == {0: 40, 1: 40}


def test_runs_of_other_data_and_parameters_lie_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    given: list[tuple[Any, str]] = []

    def rebalance(data: Any, **keys: Any) -> Any:
        given.append((data, keys["name"]))
        raise InterruptedError

    monkeypatch.setattr(sampler, "rebalance", rebalance)

    def call(X: Any, y: Any = (0, 0, 1), **keys: Any) -> None:  # noqa: N803
        with pytest.raises(InterruptedError):
            CounterpoiseSampler(**keys).fit_resample(X, y)

    texts = ["a", "b", "c"]
    for same in (texts, np.array([["a"], ["b"], ["c"]]), pd.DataFrame({"text": texts}), pd.Series(texts)):
        call(same, np.array([0, 0, 1]))
    assert [data for data, _ in given] == [{"text": texts, "label": ["0", "0", "1"]}] * 4
    assert len({name for _, name in given}) == 1
    call(["a", "b", "d"])
    call(texts, budget=1000)
    call(texts, rounds=2)
    call(texts, random_state=1)
    call(texts, sampling_strategy={1: 3})
    call(texts, model=ScriptedChatClient(lambda *_: "", name="mine"))
    call(texts, model=ScriptedChatClient(lambda *_: "", name="mine"))
    assert len({name for _, name in given}) == 7, "the same model, the same run"
