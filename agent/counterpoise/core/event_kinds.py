"""The events there are, one class each; `data` holds their fields under the keys of `--json`.

Rows within an event (cells, items of plans, audits) are mappings, as files and reports name them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from counterpoise.core.events import IF_GIVEN, NAME, Event

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Read(Event):
    """Data were read: rows to train on, held out and in the pool, and the rows of each label."""

    name: ClassVar[str] = "read"
    rows: int
    held_out: int
    pool: int
    labels: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Outlook(Event):
    """A preview's first words: what is short and what it costs.

    Args:
        deficits: cell, have, want and need of labels and attribute values that are short.
        labels: how many labels there are.
        short_labels: how many of them are short.
        records: what the labels lack.
        tokens: what writing these costs at most.
        budget: tokens of the job; None where there is no limit.
    """

    name: ClassVar[str] = "outlook"
    deficits: Sequence[Row]
    labels: int
    short_labels: int
    records: int
    tokens: float
    budget: float | None


@dataclass(frozen=True, slots=True)
class Measured(Event):
    """The ways that cost no token were scored; `best` names one for each student."""

    name: ClassVar[str] = "measured"
    rows: Sequence[Row]
    best: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ModelFound(Event):
    """A model answers, and this is how it is asked."""

    name: ClassVar[str] = "model"
    model: str = field(metadata=NAME)
    follows_instructions: bool


@dataclass(frozen=True, slots=True)
class Audited(Event):
    """The scorers of labels were audited, one row each."""

    name: ClassVar[str] = "audited"
    scorers: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """A round was planned: action, cell, count and requests of each item, and the reason."""

    name: ClassVar[str] = "planned"
    round: int
    reason: str
    items: Sequence[Row]


@dataclass(frozen=True, slots=True)
class TokensUsed(Event):
    """A reply came within a round; `limit` is None where tokens have none."""

    name: ClassVar[str] = "progress"
    round: int
    proposed: int
    tokens_used: float
    tokens_paid: float
    limit: float | None


@dataclass(frozen=True, slots=True)
class Judged(Event):
    """The proposals of a round were judged; `rejected` counts reasons."""

    name: ClassVar[str] = "judged"
    round: int
    accepted: int
    rejected: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RoundEnded(Event):
    """A round is over: have, want and need of the cells then, and the records accepted in all rounds."""

    name: ClassVar[str] = "round"
    round: int
    cells: Sequence[Row]
    accepted_total: int


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """A run is over: where it is, what it accepted and why it stopped; `ending` of runs on texts."""

    name: ClassVar[str] = "finished"
    directory: str
    report: str
    accepted: int
    stopped: str
    ending: Row | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, slots=True)
class GoldMatched(Event):
    """Gold of a relabelling was matched with the candidates; counts of judgements, and a sentence."""

    name: ClassVar[str] = "gold_matched"
    judgements: int
    of_candidates: int
    of_candidates_that_answer: int
    of_known_positives: int
    of_other_queries: int
    of_other_passages: int
    message: str


@dataclass(frozen=True, slots=True)
class JudgeAudited(Event):
    """A judge of a relabelling was audited; rates have a value and its interval, or are "unknown"."""

    name: ClassVar[str] = "judge_audited"
    stage: str
    model: str
    passed: bool
    sentence: str
    audit: Row | None
    sensitivity: Row
    specificity_random: Row
    specificity_mined: Row | str
    abstained: Row
    abstained_reason: str


@dataclass(frozen=True, slots=True)
class Projected(Event):
    """What the second judge is expected to need, one row a source of instances."""

    name: ClassVar[str] = "projected"
    sources: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """Something that the user should know; of requests that failed, what they were for."""

    name: ClassVar[str] = "warning"
    message: str
    retryable: bool | None = field(default=None, metadata=IF_GIVEN)
    purpose: str | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, slots=True)
class Starting(Event):
    """A server of ours is being started."""

    name: ClassVar[str] = "starting"
    message: str


@dataclass(frozen=True, slots=True)
class ServerReady(Event):
    """A server of ours serves, after so many starts."""

    name: ClassVar[str] = "server"
    model: str = field(metadata=NAME)
    n_starts: int


@dataclass(frozen=True, slots=True)
class Examining(Event):
    """A server is asked what it can do."""

    name: ClassVar[str] = "examining"
    url: str
    what: str


@dataclass(frozen=True, slots=True)
class PrefixCache(Event):
    """The share of prompt tokens that servers had in their prefix caches, 0 to 1."""

    name: ClassVar[str] = "prefix_cache"
    hit_ratio: float


@dataclass(frozen=True, slots=True)
class Encoding(Event):
    """So many of so many texts are encoded."""

    name: ClassVar[str] = "encoding"
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class StudentsTrained(Event):
    """So many of so many students are trained."""

    name: ClassVar[str] = "training"
    done: int
    total: int
    what: str = field(metadata=NAME)


@dataclass(frozen=True, slots=True)
class EncoderTuned(Event):
    """A training of a student that trains an encoder has done so many of so many batches."""

    name: ClassVar[str] = "tuning"
    done: int
    total: int
    what: str = field(metadata=NAME)


@dataclass(frozen=True, slots=True)
class TrainingsPriced(Event):
    """What the trainings of a student that takes minutes are expected to take, before they begin.

    Args:
        student: its name.
        seconds: of one training, by a few timed batches.
        trainings: that come now.
        more: that a run may need after them.
        message: all that in a sentence.
    """

    name: ClassVar[str] = "trainings_priced"
    student: str
    seconds: float
    trainings: int
    more: int
    message: str


@dataclass(frozen=True, slots=True)
class EncodersCompared(Event):
    """So many of so many encoders were tried on a sample of the rows."""

    name: ClassVar[str] = "encoders_compared"
    done: int
    total: int
    what: str = field(metadata=NAME)


@dataclass(frozen=True, slots=True)
class Forecasting(Event):
    """So many of so many halves of thin labels are measured."""

    name: ClassVar[str] = "forecasting"
    done: int
    total: int
    what: str = field(metadata=NAME)


@dataclass(frozen=True, slots=True)
class Downloading(Event):
    """So many of so many bytes of an asset are there."""

    name: ClassVar[str] = "downloading"
    what: str = field(metadata=NAME)
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Judging(Event):
    """So many of so many queries are judged; `limit` is None where tokens have none."""

    name: ClassVar[str] = "judging"
    what: str = field(metadata=NAME)
    done: int
    total: int
    tokens: float
    limit: float | None


Step = Encoding | EncodersCompared | EncoderTuned | StudentsTrained | Forecasting | Downloading | Judging
"""How far something is that takes long."""
