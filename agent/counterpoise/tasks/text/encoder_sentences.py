"""What trials of encoders say to people: which to take, why, and what it gives."""

from __future__ import annotations

from counterpoise.tasks.text.encoder_trials import CEILING, EVIDENT_GAIN, EncoderTrial, EncoderTrials
from counterpoise.tasks.text.few_rows import N_ROWS


def say_encoders(trials: EncoderTrials, metric_name: str) -> list[str]:
    """What to do about the encoder, in sentences; none where there is but one."""
    if len(trials.trials) < 2:
        return []
    used, best = trials.trials[0], trials.best
    if best is used:
        others = ", ".join(one.encoder for one in trials.trials[1:])
        said = (
            f"No other encoder at hand ({others}) is evidently better than {used.encoder} by a point of "
            f"{metric_name} on {trials.n_rows} rows"
        )
        most = max(trials.trials[1:], key=lambda one: one.gain)
        if most.gain < EVIDENT_GAIN:
            return [f"{said}."]
        return [
            f"{said}; what {most.encoder} showed ({100 * most.gain:+.1f} points) may be luck there: try "
            f"`encoder: {most.encoder}` if its speed will do."
        ]
    return [
        f"Change the encoder first: `encoder: {best.encoder}` gives {_say_gained(best, metric_name)} on "
        f"{trials.n_rows} rows ({_say_sure(best)}) for no token. It encodes "
        f"{best.texts_per_second:,.0f} texts a second here, all of them in about {_say_seconds(best.seconds)}."
    ]


def say_choice(trials: EncoderTrials, metric: str) -> str:
    """Which encoder `encoder: auto` took, and why."""
    best = trials.best
    others = ", ".join(one.encoder for one in trials.trials if one is not best)
    if not others:
        return f"no other encoder than {best.encoder} is at hand: `encoder: auto` took it"
    gained = (
        f"{_say_gained(best, metric)} over {trials.trials[0].encoder}, for no token"
        if best is not trials.trials[0]
        else "no other gains a point"
    )
    return f"`encoder: auto` took {best.encoder} on {trials.n_rows} rows ({gained}); beside it were tried: {others}"


def say_gain(trials: EncoderTrials, metric: str) -> str:
    """What the encoder of a job, the second one tried, gives over the default one, the first."""
    default, used = trials.trials
    return (
        f"the encoder {used.encoder} alone gives {100 * used.gain:+.1f} points of {metric} over {default.encoder} on "
        f"{trials.n_rows} rows, each under its best way without tokens"
    )


def _say_gained(trial: EncoderTrial, metric: str) -> str:
    """The gain that counts."""
    if not trial.is_near_ceiling:
        return f"{100 * trial.gain:+.1f} points of {metric}"
    return (
        f"{100 * trial.few_gain:+.1f} points of recall with {N_ROWS} rows a label (with all of them less than "
        f"{100 * (1 - CEILING):.0f} points are left, too few to tell encoders apart)"
    )


def _say_sure(trial: EncoderTrial) -> str:
    """Why it is no luck."""
    if trial.low > 0 and not trial.is_near_ceiling:
        return f"95% sure of {100 * trial.low:+.1f} or more"
    return f"with {N_ROWS} rows a label 95% sure of {100 * trial.few_low:+.1f} or more"


def _say_seconds(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 120 else f"{seconds / 60:,.0f} minutes"
