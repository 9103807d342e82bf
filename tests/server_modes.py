"""Model servers as they behave: each mode is one server with its fields, refusals and shapes of replies.

What each does was read in its documentation and its public bug reports; behind all of them stands one writer,
which does what it is told. `python -m tests.server_modes NAME PORT` serves one of them from a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.servers import Body, LocalServer, draw_seed

NATIVE = ("model", "messages", "prompt", "max_tokens", "temperature", "top_p", "stop", "n", "stream")
EVERYTHING = (*NATIVE, "logprobs", "top_logprobs", "response_format", "stream_options")


WORDS_OF = {
    "good": (
        *(
            "wonderful",
            "tender",
            "cheerful",
            "generous",
            "delicious",
            "charming",
            "flawless",
            "crisp",
            "gracious",
        ),
        *(
            "superb",
            "delightful",
            "fragrant",
            "splendid",
            "attentive",
            "heavenly",
            "juicy",
            "lovely",
            "exquisite",
        ),
    ),
    "bad": (
        *(
            "awful",
            "greasy",
            "sullen",
            "stingy",
            "burnt",
            "shabby",
            "ruined",
            "soggy",
            "insolent",
            "rancid",
            "dismal",
        ),
        *("stale", "filthy", "careless", "horrid", "tasteless", "rude", "mouldy"),
    ),
}
"""By these the label of a review is told, by readers and writers alike."""

_THINGS = (
    *(
        "soup",
        "lamb",
        "pasta",
        "trout",
        "salad",
        "cake",
        "risotto",
        "bread",
        "curry",
        "omelette",
        "coffee",
        "pudding",
    ),
    *(
        "waiter",
        "cook",
        "terrace",
        "cellar",
        "garden",
        "parlour",
        "music",
        "candle",
        "carpet",
        "window",
        "kitchen",
    ),
    *(
        "mussels",
        "pancake",
        "vinegar",
        "porridge",
        "tablecloth",
        "chandelier",
        "doorman",
        "balcony",
        "fireplace",
    ),
)
_TIMES = (
    *(
        "Sunday",
        "Tuesday",
        "midnight",
        "Easter",
        "breakfast",
        "autumn",
        "February",
        "teatime",
        "Christmas",
        "noon",
    ),
    *(
        "supper",
        "holidays",
        "birthday",
        "wedding",
        "graduation",
        "concert",
        "market",
        "funeral",
        "regatta",
        "carnival",
    ),
)


def write_review(label: str, seed: int) -> str:
    """A review of a label whose words hardly repeat those of another one."""
    source = random.Random(seed)
    one, two, three = source.sample(WORDS_OF[label], 3)
    first, second, third = source.sample(_THINGS, 3)
    time = source.choice(_TIMES)
    form = source.choice(
        (
            f"{one} {first}, {two} {second}, {three} {third}: our {time}",
            f"{time} brought {one} {first} beside {two} {second} under {three} {third}",
            f"such {one} {first}! {two} {second} too, plus {three} {third} ({time})",
            f"{first} was {one}; {second}, {two}; {third}? {three}, every {time}",
        )
    )
    return f"{form[0].upper()}{form[1:]}."


def tell_label(text: str) -> str:
    """The label whose words a review holds, "" for none."""
    return next((name for name, words in WORDS_OF.items() if any(word in text.lower() for word in words)), "")


def write_answer(body: Body, number: int) -> str:
    """What the one writer says: a word in capitals, a letter, or a review of the label that is asked for."""
    asked = read_question(body)
    if "capital letters" in asked:
        return asked.rsplit(":", 1)[1].split()[0].upper()
    if "Answer:" in asked or "one letter" in asked:
        return choose_letter(asked)
    if "Praise" not in asked and "Complaints" not in asked:
        return "A mild wind moves the young leaves."
    label = min((place, name) for name, place in _find_headings(asked).items() if place >= 0)[1]
    return write_review(label, draw_seed(asked, number))


def _find_headings(asked: str) -> dict[str, int]:
    return {"good": asked.find("Praise"), "bad": asked.find("Complaints")}


def choose_letter(asked: str) -> str:
    """The letter of the right label, by the words of the text."""
    text = asked.split("<text>")[-1].split("</text>")[0]
    heading = "Praise" if tell_label(text) == "good" else "Complaints"
    for letter, meaning in re.findall(r"^([A-Z])\. (.*)$", asked, re.MULTILINE):
        if meaning.startswith(heading):
            return str(letter)
    return "A"


def read_question(body: Body) -> str:
    """All that a request says, a continued text included."""
    turns = body.get("messages")
    if turns is None:
        return str(body["prompt"])
    return "\n".join(str(turn["content"]) for turn in turns if turn["role"] != "assistant")


@dataclass(frozen=True)
class Mode:
    """One server.

    Args:
        about: what it stands for.
        ends: that a run with it has no records, and which words its last line has; "" where it has records.
        chat: it has chats.
        continues: it continues texts.
        fields: fields it knows; others are refused by name in the words of `refusal`, None where it ignores them.
        refusal: how it refuses a field.
        refuses: further refusals: gives the words for a body, or "".
        status: of a refusal.
        n: completions it gives at most.
        thoughts: what it thinks before each answer.
        tokens: what that costs where it is not the words of it.
        shape: puts a message together: (answer, thoughts) -> message.
        is_off: whether a body switches the thinking off.
        logprobs: whether it gives log-probabilities.
        streams: "always", or "only" where it refuses to do without, or "".
        usage: gives what it counts: (prompt tokens, completion tokens) -> anything.
        limit: name of the field that bounds its tokens.
        error: puts the words of a refusal into the body that carries them.
        answer: what it answers whatever it is asked; None where it does its work.
        is_secret: its thoughts are counted and not shown.
        n_loading: requests that it answers with 503 at first.
    """

    about: str
    ends: str = ""
    chat: bool = True
    continues: bool = False
    fields: tuple[str, ...] | None = None
    refusal: str = "Unsupported parameter: '{name}' is not supported with this model."
    refuses: Callable[[Body], str] = lambda body: ""
    status: int = 400
    n: int = 100
    thoughts: str = ""
    tokens: int = 0
    shape: Callable[[str, str], Body] = lambda answer, thoughts: {"content": answer}
    is_off: Callable[[Body], bool] = lambda body: False
    logprobs: bool = True
    streams: str = ""
    usage: Callable[[int, int], Any] = lambda prompt, completion: {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    limit: tuple[str, ...] = ("max_tokens", "max_completion_tokens")
    error: Callable[[str], Any] = lambda said: {"error": {"message": said, "type": "invalid_request_error"}}
    answer: Callable[[Body], Any] = lambda body: None
    is_secret: bool = False
    n_loading: int = 0


def shape_field(name: str) -> Callable[[str, str], Body]:
    return lambda answer, thoughts: {"content": answer or None, **({name: thoughts} if thoughts else {})}


def shape_between(opening: str, closing: str) -> Callable[[str, str], Body]:
    return lambda answer, thoughts: {
        "content": f"{opening}{thoughts}{closing if answer or not thoughts else ''}{answer}"
        if thoughts
        else answer
    }


def shape_parts(answer: str, thoughts: str) -> Body:
    parts: list[Body] = (
        [{"type": "thinking", "thinking": [{"type": "text", "text": thoughts}]}] if thoughts else []
    )
    return {"content": [*parts, {"type": "text", "text": answer}] if answer else parts}


def _kwargs_off(body: Body) -> bool:
    return (body.get("chat_template_kwargs") or {}).get("enable_thinking") is False


THOUGHTS = "Okay, the user wants one thing only, so I look at what is asked.\nIt is short.\nI keep it so."
LONG_THOUGHTS = " ".join(["Wait, let me think about this again from the start."] * 300)

MODES: dict[str, Mode] = {
    "vllm": Mode("vLLM with an instruction model", continues=True),
    "vllm-qwen3": Mode(
        "vLLM with a reasoning parser; the template takes enable_thinking",
        continues=True,
        thoughts=THOUGHTS,
        shape=shape_field("reasoning"),
        is_off=_kwargs_off,
        refuses=lambda body: (
            ""
            if body.get("n", 1) == 1 or body["temperature"] > 0
            else "n must be 1 when using greedy sampling"
        ),
    ),
    "qwen3-no-parser": Mode(
        "a thinking model whose template writes the opening tag, without a parser, deaf to every switch",
        thoughts=THOUGHTS,
        shape=shape_between("", "\n</think>\n\n"),
    ),
    "llama.cpp": Mode("llama.cpp's server: one completion whatever n says", continues=True, n=1),
    "llama.cpp-r1": Mode(
        "llama.cpp's server with thoughts in reasoning_content and a reasoning budget of the template's own",
        n=1,
        thoughts=THOUGHTS,
        shape=shape_field("reasoning_content"),
    ),
    "ollama": Mode(
        "Ollama's OpenAI endpoint: n and log-probabilities are ignored", n=1, logprobs=False, continues=True
    ),
    "ollama-thinking": Mode(
        "Ollama with a thinking model: the field is `reasoning`, the switch reasoning_effort",
        n=1,
        logprobs=False,
        thoughts=THOUGHTS,
        shape=shape_field("reasoning"),
        is_off=lambda body: body.get("reasoning_effort") == "none",
    ),
    "lm-studio": Mode(
        "LM Studio: errors are texts, no log-probabilities, no n",
        n=1,
        logprobs=False,
        error=lambda said: {"error": said},
        thoughts=THOUGHTS,
        shape=shape_between("<think>\n", "\n</think>\n\n"),
        is_off=lambda body: read_question(body).endswith("/no_think"),
    ),
    "tgi": Mode(
        "text-generation-inference: no temperature of 0, no top_p of 1, 422 with a type",
        status=422,
        n=1,
        error=lambda said: {"error": said, "error_type": "validation"},
        refuses=lambda body: (
            "Input validation error: `temperature` must be strictly positive"
            if body.get("temperature") == 0
            else "Input validation error: `top_p` must be > 0.0 and < 1.0"
            if body.get("top_p") == 1
            else ""
        ),
    ),
    "sglang": Mode(
        "SGLang with a reasoning parser",
        continues=True,
        thoughts=THOUGHTS,
        shape=shape_field("reasoning_content"),
        is_off=_kwargs_off,
    ),
    "litellm": Mode(
        "LiteLLM's proxy before a provider without some fields",
        fields=("model", "messages", "max_tokens", "temperature", "stream"),
        refusal="litellm.UnsupportedParamsError: bedrock does not support parameters: ['{name}'], for model=m. "
        "To drop these, set `litellm.drop_params=True`",
    ),
    "openai-newest": Mode(
        "OpenAI's newest parameters: max_completion_tokens, no sampling, thoughts that are counted and not shown",
        fields=(
            "model",
            "messages",
            "max_completion_tokens",
            "n",
            "response_format",
            "reasoning_effort",
            "stream",
        ),
        refuses=lambda body: (
            "Unsupported value: 'reasoning_effort' does not support 'none' with this model."
            if body.get("reasoning_effort") == "none"
            else ""
        ),
        thoughts=THOUGHTS,
        shape=lambda answer, thoughts: {"content": answer, "refusal": None},
        is_secret=True,
    ),
    "streaming-proxy": Mode("a proxy that refuses whatever is not streamed", streams="only", n=1),
    "always-streams": Mode(
        "a proxy that streams whatever was asked, thoughts in pieces",
        streams="always",
        thoughts=THOUGHTS,
        shape=shape_field("reasoning_content"),
    ),
    "tabbyapi": Mode(
        "TabbyAPI: FastAPI's list of details, unknown fields are not permitted, no system turn in the template",
        status=422,
        continues=True,
        fields=tuple(name for name in EVERYTHING if name not in ("response_format",)),
        refusal="Extra inputs are not permitted: {name}",
        error=lambda said: {"detail": [{"type": "value_error", "loc": ["body"], "msg": said}]},
        refuses=lambda body: (
            "Conversation roles must alternate user/assistant/user/assistant/..."
            if any(turn["role"] == "system" for turn in body.get("messages", ()))
            else ""
        ),
    ),
    "koboldcpp": Mode(
        "KoboldCpp: no n, no usage, no finish reason to speak of",
        n=1,
        continues=True,
        usage=lambda prompt, completion: None,
        logprobs=False,
    ),
    "localai": Mode(
        "LocalAI: counts that cannot be true, an alias for its model",
        usage=lambda prompt, completion: {
            "prompt_tokens": -1,
            "completion_tokens": 1e308,
            "total_tokens": "many",
        },
    ),
    "mistral": Mode(
        "Mistral's API: content in parts, thinking among them",
        thoughts=THOUGHTS,
        shape=shape_parts,
        n=100,
        fields=tuple(name for name in EVERYTHING if "logprobs" not in name),
        status=422,
        error=lambda said: {
            "object": "error",
            "message": {"detail": [{"type": "extra_forbidden", "loc": ["body"], "msg": said}]},
            "type": "invalid_request_error",
        },
        refusal="Extra inputs are not permitted: {name}",
    ),
    "deepseek": Mode(
        "DeepSeek's API: n has to be 1, thinking is a type that can be disabled",
        thoughts=THOUGHTS,
        shape=shape_field("reasoning_content"),
        is_off=lambda body: (body.get("thinking") or {}).get("type") == "disabled",
        refuses=lambda body: (
            "Invalid n value (currently only n = 1 is supported)" if body.get("n", 1) > 1 else ""
        ),
    ),
    "gpt-oss": Mode(
        "gpt-oss without a parser: channels between tags, thinking that can only be lessened",
        thoughts=THOUGHTS,
        shape=shape_between(
            "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"
        ),
        continues=True,
    ),
    "slow-to-load": Mode("a server that loads its model while it is asked", n_loading=3, n=1, continues=True),
    "thinks-3000": Mode(
        "a model that thinks 3,000 tokens before each answer",
        thoughts=" ".join(["Wait."] * 3000),
        shape=shape_field("reasoning_content"),
    ),
    "errors-under-200": Mode(
        "a gateway whose upstream is gone: an error object under status 200",
        ends="insufficient credits for model m",
        answer=lambda body: {"error": {"code": 402, "message": "insufficient credits for model m"}},
    ),
    "thinks-for-long": Mode(
        "a model that thinks for thousands of tokens and cannot be kept from it",
        ends="switch its thinking off",
        thoughts=LONG_THOUGHTS,
        tokens=10**6,
        shape=shape_field("reasoning_content"),
    ),
    "embeddings-only": Mode(
        "a server whose only model makes vectors",
        ends="does not support chat",
        answer=lambda body: web.json_response(
            {"error": {"message": '"bge-m3" does not support chat'}}, status=400
        ),
    ),
}
"""Those without `ends` write records; of the others a run says in one line why not, and what to do."""


class ModeServer(LocalServer):
    """A server in one mode; `is_mended` is what the last line of a run that wrote nothing asks for, done."""

    def __init__(self, name: str, *, is_mended: bool = False, **settings: Any) -> None:
        super().__init__(**({"models": (f"model-of-{name}",)} | settings))
        self.mode = MODES[name]
        self.is_mended = is_mended
        self._asked: Counter[str] = Counter()
        self._n_loading = self.mode.n_loading

    async def _list_models(self, request: web.Request) -> web.Response:
        if self._n_loading:
            self._n_loading -= 1
            return web.json_response(
                {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, status=503
            )
        return await super()._list_models(request)

    async def _answer(self, request: web.Request, body: Body, name: str, number: int) -> web.StreamResponse:
        mode = self.mode
        await asyncio.sleep(0)
        if not (mode.chat if "messages" in body else mode.continues):
            return web.json_response({"detail": "Not Found"}, status=404)
        if not self.is_mended and (said := mode.answer(body)) is not None:
            return said if isinstance(said, web.StreamResponse) else web.json_response(said)
        if refused := self._refuse(body):
            return web.json_response(mode.error(refused), status=mode.status)
        reply = self._reply(body)
        self.answered[name] += 1
        return self._stream(reply) if mode.streams else web.json_response(reply)

    def _refuse(self, body: Body) -> str:
        mode = self.mode
        if mode.fields is not None:
            for name in body:
                if name not in mode.fields:
                    return mode.refusal.format(name=name)
        if mode.streams == "only" and not body.get("stream"):
            return "This endpoint only supports streaming: set `stream` to true."
        return mode.refuses(body)

    def _reply(self, body: Body) -> Body:
        mode, is_chat = self.mode, "messages" in body
        limit = next((body[name] for name in mode.limit if name in body), 4096)
        thinks = is_chat and mode.thoughts and not mode.is_off(body) and not self.is_mended
        choices: list[Body] = []
        n_completion = n_thoughts = 0
        asked = read_question(body)
        for index in range(min(body.get("n", 1), mode.n)):
            self._asked[asked] += 1
            answer = write_answer(body, self._asked[asked]) if is_chat else " four, five"
            words = (mode.thoughts.split(" ") if thinks else [])[:limit]
            n_of_thoughts = min(mode.tokens or len(words), limit) if thinks else 0
            kept = answer.split(" ")[: limit - n_of_thoughts]
            end = "length" if n_of_thoughts >= limit or len(kept) < len(answer.split(" ")) else "stop"
            message = mode.shape(" ".join(kept), " ".join(words))
            for mark in body.get("stop") or ():
                # Servers look for it in what they show as content, thoughts or not.
                if isinstance(message.get("content"), str):
                    message["content"] = message["content"].split(mark)[0]
            n_completion += n_of_thoughts + len(kept)
            n_thoughts += n_of_thoughts
            choice: Body = {"index": index, "finish_reason": end}
            choice |= {"message": {"role": "assistant", **message}} if is_chat else {"text": answer}
            if mode.logprobs and body.get("logprobs"):
                choice["logprobs"] = _score(str(message.get("content") or "") if is_chat else answer, is_chat)
            choices.append(choice)
        n_prompt = len(asked.split()) + 1
        self.prompt_tokens += n_prompt
        self.completion_tokens += n_completion
        usage = mode.usage(n_prompt, n_completion)
        if n_thoughts and mode.is_secret:
            usage["completion_tokens_details"] = {"reasoning_tokens": n_thoughts}
        return {"model": body["model"], "choices": choices, **({"usage": usage} if usage else {})}

    def _stream(self, reply: Body) -> web.Response:
        events: list[Any] = []
        for choice in reply["choices"]:
            for part, whole in choice["message"].items():
                if isinstance(whole, str):
                    pieces = [whole[start : start + 7] for start in range(0, len(whole), 7)]
                    events += [
                        {"choices": [{"index": choice["index"], "delta": {part: piece}}]} for piece in pieces
                    ]
            events.append(
                {
                    "choices": [
                        {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}
                    ]
                }
            )
        events.append({"choices": [], "usage": reply["usage"]})
        text = (
            ": keep-alive\n\n"
            + "".join(f"data: {json.dumps(event)}\n\n" for event in events)
            + "data: [DONE]\n\n"
        )
        return web.Response(text=text, content_type="text/event-stream")


def _score(text: str, is_chat: bool) -> Body:
    """A table of the first token: sure of a letter where the text is one."""
    first = text[:1] if len(text.strip()) == 1 else text.split(" ")[0] or "<think>"
    source = random.Random(draw_seed(text))
    table = {first: -0.1, **{letter: -3.0 - source.random() for letter in "AB" if letter != first}}
    if is_chat:
        return {
            "content": [
                {"token": first, "top_logprobs": [{"token": t, "logprob": p} for t, p in table.items()]}
            ]
        }
    return {"top_logprobs": [table]}


if __name__ == "__main__":
    asyncio.run(ModeServer(sys.argv[1]).serve(port=int(sys.argv[2])))
