"""What is decided of the candidates of a case once the judges have spoken, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from counterpoise.actions.relabel.cascade import Decision, decide_candidate
from counterpoise.actions.relabel.cases import Case
from counterpoise.actions.relabel.judging import (
    Cascade,
    JudgeAnswers,
    check_positives,
    flag_cases,
    grade_cases,
    pause_sources,
)
from counterpoise.actions.relabel.result import PositiveCheck
from counterpoise.actions.relabel.verdicts import NO_ANSWER, Judgement


@dataclass(frozen=True, slots=True)
class JudgedCases:
    """What came of some cases.

    Args:
        decided: number of a case -> decisions on its candidates.
        checks: of known positives.
        paused: numbers of cases whose source was paused.
        is_cut: the budget ended first.
    """

    decided: Mapping[int, Sequence[Decision]] = field(default_factory=dict)
    checks: Sequence[PositiveCheck] = ()
    paused: frozenset[int] = frozenset()
    is_cut: bool = False


def join_judged(parts: Iterable[JudgedCases]) -> JudgedCases:
    """Several parts as one; no case is in two of them."""
    parts = list(parts)
    return JudgedCases(
        {number: decided for part in parts for number, decided in part.decided.items()},
        [check for part in parts for check in part.checks],
        frozenset(number for part in parts for number in part.paused),
        any(part.is_cut for part in parts),
    )


async def judge_block(cascade: Cascade, cases: Sequence[Case]) -> JudgedCases:
    """Ask both judges about some cases, and decide.

    Raises:
        ServerError: a server is evidently gone.
        StorageError: the reply store cannot be written.
    """
    flags = await flag_cases(cascade, cases)
    pause_sources(cascade)
    open_cases = [case for case in cases if not cascade.meters[case.source].paused]
    grades = await grade_cases(cascade, open_cases, flags)
    checks, is_cut = (
        await check_positives(cascade, open_cases) if cascade.settings.check_positives else ([], False)
    )
    judged = decide_cases(cascade, cases, flags, grades)
    is_cut |= flags.is_cut or grades.is_cut
    return JudgedCases(judged.decided, checks, judged.paused, is_cut)


def decide_cases(
    cascade: Cascade,
    cases: Sequence[Case],
    flags: JudgeAnswers | None = None,
    grades: JudgeAnswers | None = None,
) -> JudgedCases:
    """Decide on every candidate of some cases, and count it; without answers nothing was asked."""
    flags, grades = flags or JudgeAnswers(), grades or JudgeAnswers()
    decided = {}
    for case in cases:
        meter = cascade.meters[case.source]
        decided[case.number] = decide_case(
            case,
            flags.of(case),
            grades.of(case),
            paused=meter.paused,
            counts_worse=cascade.settings.counts_worse,
        )
        meter.count_decisions(decided[case.number])
    paused = frozenset(case.number for case in cases if cascade.meters[case.source].paused)
    return JudgedCases(decided, paused=paused)


def decide_case(
    case: Case,
    flags: Mapping[str, Judgement],
    grades: Mapping[str, Judgement],
    *,
    paused: str = "",
    counts_worse: bool = False,
) -> list[Decision]:
    """Decisions on the candidates of a case, in their order.

    Args:
        case: the case.
        flags: what the first judge said, by text.
        grades: what the second judge said, by text.
        paused: why its source was paused; then all is left as it is. "" where it was not.
        counts_worse: relabel what is relevant but worse, too.
    """
    decided: list[Decision] = []
    for candidate in case.candidates:
        text = candidate.passage.full_text
        if paused:
            decided.append(Decision.leave(case.rows[0], candidate, f"paused: {paused}", flags.get(text)))
            continue
        flag, grade = flags.get(text, NO_ANSWER), grades.get(text)
        if flag.is_flag and grade is None:
            grade = NO_ANSWER
        decided.append(
            decide_candidate(
                case.rows[0],
                candidate,
                flag,
                grade,
                is_sampled=grade is not None and not flag.is_flag,
                counts_worse=counts_worse,
            )
        )
    return decided
