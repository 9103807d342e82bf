"""`Job`: what a run is told, one model for YAML files, the command line and Python.

Every key is optional but `data`, `text` and `label`. Keys that one file with everything needs (a demo, say)::

    data: reviews.csv
    sample:                          # use a part of `data`; the report says so
      where: {source: imdb}          #   only rows with these values
      max_characters: 400            #   and texts no longer than this
      rows: {positive: 300, negative: 15}   # and of these so many a label, to make the labels skew
    held_out: {rest: 500}            # sealed rows, taken first; or {rest: {positive: 250, negative: 250}}
    pool: {rest: 1000}               # unlabelled rows out of what is then left

A `rest` works without `sample` too: the rows are taken out of `data`. Relative paths are relative to the job
file. Errors are one line: `job.yaml: key 'budgett': unknown key; did you mean 'budget'?`
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from counterpoise.actions.writers import Writer
from counterpoise.balance.targets.words import WRITE_TARGET, read_words
from counterpoise.core.label_spellings import Spellings, fold_spelling, spell_value
from counterpoise.core.registry import DEFAULT
from counterpoise.core.schema import TextClassification
from counterpoise.core.strict_yaml import SETTINGS
from counterpoise.data.encoder_choice import AUTO
from counterpoise.llm.masking import KINDS, Masker
from counterpoise.students.evidence import NO_EVIDENCE, Evidence, parse_evidence, read_shipped
from counterpoise.tasks.job import JobBase
from counterpoise.tasks.keys import ColumnNames, LabelWords, TableSource, check_table
from counterpoise.tasks.text.writer_keys import NamedWriterKeys, WriterKeys, check_writers, list_writers


def _spell_keys(value: object) -> object:
    """Labels as keys, of any type in Python, as texts."""
    return {spell_value(name): item for name, item in value.items()} if isinstance(value, Mapping) else value


class Sample(BaseModel):
    """Which part of `data` is used: `where` and `max_characters` narrow it, `rows` takes so many a label."""

    model_config = SETTINGS
    rows: dict[str, Annotated[int, Field(ge=1)]] | None = None
    where: dict[str, str] = {}
    max_characters: int | None = Field(None, ge=1)

    @field_validator("where", mode="before")
    @classmethod
    def _write_values_as_text(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {str(name): spell_value(item) for name, item in value.items()}

    @field_validator("rows", mode="before")
    @classmethod
    def _spell_labels(cls, value: object) -> object:
        return _spell_keys(value)


class RestByLabel(BaseModel):
    """Rows taken out of `data`: so many in all, or so many a label."""

    model_config = SETTINGS
    rest: Annotated[
        Annotated[int, Field(ge=1), Tag("<count>")]
        | Annotated[dict[str, Annotated[int, Field(ge=1)]], Tag("<labels>")],
        Discriminator(lambda value: "<labels>" if isinstance(value, Mapping) else "<count>"),
    ]

    @field_validator("rest", mode="before")
    @classmethod
    def _spell_labels(cls, value: object) -> object:
        return _spell_keys(value)


class Rest(BaseModel):
    """Rows taken out of `data`: so many in all."""

    model_config = SETTINGS
    rest: int = Field(ge=1)


def _tag_source(value: object) -> str:
    """How a value of `held_out` or `pool` is to be read, so that errors speak of that reading only."""
    if isinstance(value, Rest | RestByLabel):
        return "<rest>"
    if isinstance(value, Mapping):  # a mapping of columns is a table
        return (
            "<rest>" if any(isinstance(item, int | str | Mapping) for item in value.values()) else "<source>"
        )
    return "<share>" if isinstance(value, int | float) else "<source>"


class Job(JobBase):
    """What a run is told; the head of this module explains `sample` and `rest`.

    Args:
        data: file, folder, hub id, `asset:NAME`, or in Python a table.
        held_out: rows to score on once, at the end: a source, a share of `data`, or `{rest: ...}`.
        pool: unlabelled records the agent may adopt: a source or `{rest: ...}`.
        text: text column or columns.
        label: label column.
        labels: label -> one line that says what such records are; for prompts and the zero-shot baseline.
        attributes: columns that should not decide the label; `text.language` is the language of the text.
        trusted: column that marks rows whose label is known to be right.
        label_spellings: labels that differ only in blanks, case or Unicode form are one (`merge`), several (`keep`), or
            stop the run with a question (`ask`).
        keep_labels: words such as `null`, `NA` or `None` that are labels here, and not missing ones.
        gold: CSV of known answers, as `counterpoise label --ask` writes it and the user fills it in.
        answers: CSV of rows of `pool` that the user has labelled, as `counterpoise label --pool POOL --ask 20` writes
            it; they become training rows.
        seconds_per_answer: that a label takes you, for the price of asking in a preview; None for a prior of 15.
        concepts: name -> definition, a file that holds these, or `auto`: those that the model names.
        pool_rows: which rows of the pool are taken in, once their label is sure: those that thin labels need
            (`needed`), or all (`all`), which is how a model teaches a student.
        target: `equal` (the default up to ten labels), or label -> ratio: labels are wanted in this ratio to one
            another; or `enough` (the default above), `correlation 0.1`, `tolerances 0.02 0.01` (`docs/targets.md`).
        metric: what the simple ways and the choice between actions are judged by: `macro_f1`, `auroc`, or
            `worst_group`, with which a budget that does not reach for everything goes to the worst cell (ways are
            compared by macro-F1).
        mode: whether records are added (`records`), or the own rows weighed and no model asked (`weights`).
        llm: the model; `embedded` or a URL for short.
        budget: what may be spent; a number of tokens for short.
        output: the run directory.
        sample: use a part of `data` only.
        name: of the run; by default that of the data.
        task: what kind of data it is.
        seed: another seed gives other held-out rows, folds and demonstrations.
        rounds: turns of the loop, at most; None for as many as pay.
        max_synthetic_share: of a label's records that a model may have made; None without a bound.
        cache_dir: where replies and vectors are kept; by default the user's cache folder.
        actions: what may be done about a cell that lacks records, by registered names, in the order of preference;
            `default` stands for the whole default list. In Python an action may be an object.
        filters: what proposals have to pass, by registered names; `default` stands for all that ship. In Python one
            may be an object.
        scorers: who may say a label, by registered names; each is audited, and one of the user's own decides where it
            is surely better than the classifier. In Python one may be an object.
        students: who data is judged by, by registered names: `vectors` (on those of the encoder), `words`. In Python a
            classifier of scikit-learn may stand here, or a `SklearnStudent`.
        treatments: the ways to train them that cost no token, by registered names; `default` stands for the whole
            default list. Those that look at the pool are measured where there is one.
        encoder: instead of the pinned one, see `JobBase`.
        writer: a line of yours and a temperature for new texts, `{instructions: write as angry customers would}`.
        writers: several such, each with a name, which compete for the budget and are told apart in provenance and
            report.
        mask: kinds of personal data (`email`, `phone`, `credit_card`, `ssn`, `ip_address`, `date`, `zip_code`) that the
            model never sees, nor a written record has; needs the extra `mask`.
        min_precision: share of right changes that is promised where labels are mended, tested on rows whose label is
            known (`gold`, `trusted`); None changes none but these.
        evidence: whether the choice among simple ways begins with what they gave on other data sets (`shipped`), or
            with nothing (`none`).
    """

    model_config = ConfigDict(**SETTINGS, arbitrary_types_allowed=True)

    SOURCES = ("data", "held_out", "pool")
    PATHS = (*JobBase.PATHS, "gold", "answers")
    LATER_KEYS = (
        "min_precision",
        "answers",
        "evidence",
        "seconds_per_answer",
        "writer",
        "writers",
        "mask",
        "pool_rows",
        "mode",
        "max_synthetic_share",
    )
    KEY_FILES = ("concepts",)

    TRIES_ENCODERS = True

    task: Literal["text_classification"] = "text_classification"
    sample: Sample | None = None
    held_out: Annotated[
        Annotated[float, Tag("<share>")]
        | Annotated[RestByLabel, Tag("<rest>")]
        | Annotated[Any, Tag("<source>")],
        Discriminator(_tag_source),
    ] = 0.2
    pool: Annotated[
        Annotated[Rest, Tag("<rest>")] | Annotated[Any, Tag("<source>")],
        Discriminator(lambda value: "<rest>" if _tag_source(value) == "<rest>" else "<source>"),
    ] = None
    data: TableSource
    text: ColumnNames = Field(min_length=1)
    label: str = Field(min_length=1)
    labels: dict[str, str] = Field({})
    attributes: ColumnNames = ()
    trusted: str = ""
    label_spellings: Spellings = "ask"
    keep_labels: LabelWords = ()
    gold: str = ""
    answers: str = ""
    seconds_per_answer: float | None = Field(None, gt=0, le=86_400)
    concepts: dict[str, str] | Literal["auto"] = Field({})
    pool_rows: Literal["needed", "all"] = "needed"
    target: str | dict[str, float] = "equal"
    metric: Literal["macro_f1", "auroc", "worst_group"] = "macro_f1"
    mode: Literal["records", "weights"] = "records"
    rounds: int | None = Field(None, ge=1, le=100)
    max_synthetic_share: float | None = Field(None, gt=0, lt=1)
    seed: int = 0
    actions: tuple[Any, ...] = Field((DEFAULT,), validate_default=True)
    filters: tuple[Any, ...] = Field((DEFAULT,), validate_default=True)
    scorers: tuple[Any, ...] = Field((DEFAULT,), validate_default=True)
    students: tuple[Any, ...] = Field((DEFAULT,), validate_default=True)
    treatments: tuple[Any, ...] = Field((DEFAULT,), validate_default=True)

    min_precision: float | None = Field(0.8, gt=0, lt=1)
    evidence: Literal["shipped", "none"] = "shipped"
    writer: WriterKeys | None = None
    writers: tuple[NamedWriterKeys, ...] | None = None
    mask: (
        tuple[Literal["email", "phone", "credit_card", "ssn", "ip_address", "date", "zip_code"], ...] | None
    ) = None

    @field_validator("held_out", "pool")
    @classmethod
    def _check_source(cls, value: object, info: ValidationInfo) -> object:
        is_share = info.field_name == "held_out" and isinstance(value, float)
        return value if value is None or is_share else check_table(value)

    @field_validator("held_out", mode="before")
    @classmethod
    def _check_share(cls, value: object) -> object:
        if value is None or (isinstance(value, int | float) and not 0 < value < 1):
            raise ValueError(f"found {value!r}; write a share between 0 and 1, a file, or {{rest: 500}}")
        return value

    @field_validator("concepts", mode="before")
    @classmethod
    def _name_concepts(cls, value: object) -> object:
        if value == AUTO:
            return value
        pairs = list(value.items()) if isinstance(value, Mapping) else value
        if isinstance(value, list | tuple):
            pairs = [(name, name) for name in value]
        if not isinstance(pairs, list):
            raise ValueError(f"found {value!r:.60}; write name: definition, a file that holds these, or auto")  # noqa: TRY004 (pydantic reads ValueError)
        seen: dict[str, object] = {}
        for name, definition in pairs:
            if not str(name).strip() or not isinstance(definition, str) or not definition.strip():
                raise ValueError(f"concept '{name}' has no definition; write one line that says what it is")
            folded = fold_spelling(str(name))
            if folded in seen:
                raise ValueError(f"concept '{name}' is named twice; keep one of them")
            seen[folded] = name
        return {str(name).strip(): definition.strip() for name, definition in pairs}

    @field_validator("labels", mode="before")
    @classmethod
    def _spell_labels(cls, value: object) -> object:
        return _spell_keys(value)

    @field_validator("target", mode="before")
    @classmethod
    def _check_target(cls, value: object) -> object:
        if isinstance(value, str):
            read_words(value)
            return " ".join(value.split())
        ratios = value.items() if isinstance(value, Mapping) else ()
        good = [isinstance(ratio, int | float) and 0 < ratio < 1e9 for _, ratio in ratios]
        if not good or not all(good):
            raise ValueError(f"found {value!r:.60}; {WRITE_TARGET}")
        return {spell_value(label): float(ratio) for label, ratio in ratios}

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        columns = self.as_task().columns
        twice = next((name for name in columns if columns.count(name) > 1), None)
        if twice is not None:
            raise ValueError(
                f"column '{twice}' is named twice; text, label, attributes and trusted must differ"
            )
        return self

    @model_validator(mode="after")
    def _check_mode(self) -> Self:
        if self.mode == "weights" and self.concepts == AUTO:
            raise ValueError(
                "key 'mode': weights asks no model, and 'concepts: auto' does; name the concepts, or leave them out"
            )
        return self

    @model_validator(mode="after")
    def _check_answers(self) -> Self:
        if self.answers and self.pool is None:
            raise ValueError(
                "key 'answers' names labels of pool rows, and there is no pool; name it under 'pool'"
            )
        return self

    @field_validator("mask", mode="before")
    @classmethod
    def _list_kinds(cls, value: object) -> object:
        kinds = [value] if isinstance(value, str) else value
        if kinds is not None and not kinds:
            raise ValueError(f"found no kinds; write one or more of {', '.join(KINDS)}")
        return kinds

    def open_masker(self) -> Masker | None:
        """What masks personal data, where the job wants it.

        Raises:
            JobError: the package that finds them is not installed.
        """
        return Masker(self.mask) if self.mask else None

    @model_validator(mode="after")
    def _check_writers(self) -> Self:
        check_writers(self.writers)
        if self.writer and self.writers:
            raise ValueError(
                "keys 'writer' and 'writers' say the same; write what is in 'writer' into each of 'writers'"
            )
        return self

    @property
    def scored_by(self) -> Literal["macro_f1", "auroc"]:
        """What ways of training are compared by: the metric, or macro-F1 where the budget goes to the worst cell."""
        return "macro_f1" if self.metric == "worst_group" else self.metric

    def list_writers(self) -> tuple[Writer, ...]:
        """Who write new texts, in turn."""
        return list_writers(self.writer, self.writers)

    @property
    def key(self) -> str:
        """What all draws of a run are keyed by."""
        return f"seed {self.seed}"

    @property
    def listed_concepts(self) -> Mapping[str, str]:
        """Name -> definition; none as long as a model has not named them."""
        return {} if isinstance(self.concepts, str) else self.concepts

    def open_evidence(self) -> Evidence:
        """What simple ways gave on other data sets, where the job wants it."""
        return parse_evidence(read_shipped()) if self.evidence == "shipped" else NO_EVIDENCE

    def as_task(self) -> TextClassification:
        """Which columns mean what."""
        return TextClassification(
            self.text, self.label, self.attributes, self.trusted, self.keep_labels, self.label_spellings
        )


def load_job(path: str | Path, **overrides: Any) -> Job:
    """Read a job file of text classification, see `JobBase.load`.

    Raises:
        JobError: a mistake in the file, in one line.
    """
    return Job.load(path, **overrides)


def job_from(**keys: Any) -> Job:
    """A job from Python or the command line, see `JobBase.make`.

    Raises:
        JobError: a key is unknown, missing or wrong.
    """
    return Job.make(**keys)
