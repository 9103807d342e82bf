"""Whatever a server sends becomes completions: thoughts apart, texts joined, counts believed where they can be true."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from counterpoise.llm import ChatRequest, Message, Sampling, Usage
from counterpoise.llm.replies import read_completions
from counterpoise.llm.reply_bodies import read_body
from counterpoise.llm.reply_store import pack_reply, unpack_reply
from counterpoise.llm.served_errors import find_error, quote_error
from counterpoise.llm.structured import parse_reply, read_letter
from counterpoise.llm.thoughts import split_thoughts

ASK = ChatRequest((Message("user", "Write a record."),), sampling=Sampling(max_tokens=40, stop=("\n",)))
SCHEMA = {"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"]}
THOUGHTS = "Okay, the user wants one more record.\nI keep it short."


@pytest.mark.parametrize(
    "text",
    [
        f"<think>{THOUGHTS}</think>\n\nThe soup was cold",
        f"{THOUGHTS}\n</think>\n\nThe soup was cold",
        "<think>\n\n</think>\n\nThe soup was cold",
        f"<thinking>{THOUGHTS}</thinking>The soup was cold",
        f"<Thought>{THOUGHTS}</Thought>\nThe soup was cold",
        f"<reasoning>{THOUGHTS}</reasoning>\n<answer>The soup was cold</answer>",
        f"<seed:think>{THOUGHTS}</seed:think>The soup was cold",
        f"[THINK]{THOUGHTS}[/THINK]The soup was cold",
        f"◁think▷{THOUGHTS}◁/think▷The soup was cold",
        f"<|START_THINKING|>{THOUGHTS}<|END_THINKING|><|START_RESPONSE|>The soup was cold<|END_RESPONSE|>",
        f"<|begin_of_thought|>{THOUGHTS}<|end_of_thought|>\n<|begin_of_solution|>The soup was cold<|end_of_solution|>",
        f"<|channel|>analysis<|message|>{THOUGHTS}<|end|><|channel|>final<|message|>The soup was cold",
        "<|channel|>commentary<|message|>x<|channel|>final <|constrain|>text<|message|>The soup was cold<|return|>",
        f"analysis{THOUGHTS}assistantfinalThe soup was cold",
        f"<think>{THOUGHTS}<think>and again</think></think>The soup was cold",
        f"<think>a</think>The soup was cold<think>{THOUGHTS}</think>",
        f"The soup was cold <think>{THOUGHTS}",
        f"Here is my thought process: {THOUGHTS} Here is my response: The soup was cold",
        "The soup was cold<|im_end|>",
        "<|im_start|>assistant\nThe soup was cold<|im_end|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\nThe soup was cold<|eot_id|>",
        "<start_of_turn>model\nThe soup was cold<end_of_turn>",
    ],
)
def test_whatever_the_tags_are_thoughts_are_no_answer(text: str) -> None:
    assert split_thoughts(text).answer == "The soup was cold"
    (completion,) = read_completions({"choices": [{"message": {"content": text}}]}, ASK)
    assert completion.text == "The soup was cold" and completion.finish_reason == "stop"


@pytest.mark.parametrize(
    "text",
    [f"<think>{THOUGHTS}", f"[THINK]{THOUGHTS}", f"<|channel|>analysis<|message|>{THOUGHTS}", "<think>"],
)
def test_thoughts_without_an_end_are_no_answer_either(text: str) -> None:
    (completion,) = read_completions(
        {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}, ASK
    )
    assert (
        (completion.text, completion.finish_reason) == ("", "length") and completion.thought_tokens > 0
    ) or text == "<think>"


@pytest.mark.parametrize(
    "text", ["1 < 2 and 3 > 2", "the <b>bold</b> soup", "analysis of soups", "Here is soup", ""]
)
def test_texts_that_only_look_like_tags_stay_as_they_are(text: str) -> None:
    assert split_thoughts(text) == (text, "", False)


@pytest.mark.parametrize(
    "message",
    [
        {"content": "The soup was cold", "reasoning_content": THOUGHTS},
        {"content": "\n\nThe soup was cold", "reasoning": THOUGHTS},
        {"content": "The soup was cold", "reasoning": {"content": THOUGHTS}},
        {"content": "The soup was cold", "reasoning_details": [{"type": "reasoning.text", "text": THOUGHTS}]},
        {"content": "The soup was cold", "thinking": THOUGHTS},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHTS}]},
                {"type": "text", "text": "The soup was cold"},
            ]
        },
        {"content": [{"type": "reasoning", "text": THOUGHTS}, "The soup ", {"text": "was cold"}]},
    ],
)
def test_thoughts_in_a_place_of_their_own_are_counted_and_left(message: dict[str, Any]) -> None:
    reply = {
        "choices": [{"message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 40},
    }
    (completion,) = read_completions(reply, ASK)
    assert completion.text == "The soup was cold" and 20 < completion.thought_tokens < 40
    assert (
        completion.usage == Usage(9, 40)
        and unpack_reply(pack_reply(completion)).thought_tokens == completion.thought_tokens
    )


def test_what_a_server_refuses_to_write_is_passed_on_and_a_count_that_is_too_low_hides_no_thoughts() -> None:
    refused = {"message": {"content": None, "refusal": "I cannot help with that."}, "finish_reason": "stop"}
    assert read_completions({"choices": [refused]}, ASK)[0].text == "I cannot help with that."
    thinks = {"message": {"content": "It was cold", "reasoning": "Let me see. " * 100}}
    (completion,) = read_completions({"choices": [thinks], "usage": {"completion_tokens": 12}}, ASK)
    assert completion.thought_tokens == 300


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"message": {"content": None}}, ""),
        ({"message": {}}, ""),
        ({"message": None, "text": "cold"}, "cold"),
        ({"message": "cold"}, "cold"),
        ({"text": "cold"}, "cold"),
        ({"delta": {"content": "cold"}}, "cold"),
        ({"message": {"content": []}}, ""),
        ({"message": {"content": [{"type": "text", "text": "co"}, {"type": "text", "text": "ld"}]}}, "cold"),
        ({"message": {"content": [{"type": "image_url", "image_url": {"url": "x"}}]}}, ""),
        ({"message": {"content": {"type": "text", "text": "cold"}}}, "cold"),
        ({"message": {"content": 7}}, "7"),
        ({"message": {"content": "cold\nand more"}}, "cold"),
    ],
)
def test_content_of_any_shape_is_a_text(choice: dict[str, Any], text: str) -> None:
    assert read_completions({"choices": [choice]}, ASK)[0].text == text


@pytest.mark.parametrize(
    ("given", "read"),
    [("stop", "stop"), (None, "stop"), ("length", "length"), ("max_tokens", "length"), ("MAX_TOKENS", "length"),
     ("eos_token", "stop"), ("content_filter", "content_filter")],
)  # fmt: skip
def test_finish_reasons_are_told_in_one_word(given: str | None, read: str) -> None:
    (completion,) = read_completions(
        {"choices": [{"message": {"content": "cold"}, "finish_reason": given}]}, ASK
    )
    assert completion.finish_reason == read


@pytest.mark.parametrize("count", [-5, 1e308, "many", math.nan, math.inf, None, True, [3], 10**9, "1e400"])
def test_a_count_that_cannot_be_true_is_estimated_instead(count: Any) -> None:
    text = "the soup was cold and the waiter rude"
    reply = {
        "choices": [{"message": {"content": text}}],
        "usage": {"prompt_tokens": count, "completion_tokens": count},
    }
    (completion,) = read_completions(reply, ASK)
    assert 0 < completion.usage.prompt_tokens < 40 and 0 < completion.usage.completion_tokens <= 40
    others: list[Any] = [count, [], "x"]
    for usage in others:
        assert read_completions({**reply, "usage": usage}, ASK)[0].usage.total > 0


def test_counts_that_may_be_true_are_believed() -> None:
    def read(**usage: Any) -> Usage:
        return read_completions({"choices": [{"message": {"content": "cold"}}], "usage": usage}, ASK)[0].usage

    assert read(prompt_tokens="12", completion_tokens=3.0) == Usage(12, 3)
    assert read(input_tokens=900, output_tokens=3) == Usage(900, 3)
    hidden = {
        "prompt_tokens": 9,
        "completion_tokens": 640,
        "completion_tokens_details": {"reasoning_tokens": 600},
    }
    assert read(**hidden) == Usage(9, 640)
    (completion,) = read_completions(
        {"choices": [{"message": {"content": ""}, "finish_reason": "length"}], "usage": hidden}, ASK
    )
    assert completion.thought_tokens == 600


def test_fewer_or_more_completions_than_asked_for_are_taken_as_they_are() -> None:
    from dataclasses import replace

    choices = [{"index": index, "message": {"content": f"text {index}"}} for index in (2, 0, 1)]
    for n, texts in ((6, ["text 0", "text 1", "text 2"]), (2, ["text 0", "text 1"])):
        found = read_completions({"choices": choices}, replace(ASK, n=n))
        assert [completion.text for completion in found] == texts
    replies: list[Any] = [{}, {"choices": []}, {"choices": None}, [], "x", None, {"choices": ["x"]}]
    for reply in replies:
        with pytest.raises(ValueError, match="no completion"):
            read_completions(reply, ASK)


@pytest.mark.parametrize(
    ("reply", "said", "status", "is_transient"),
    [
        ({"error": {"message": "no credit", "code": 402}}, "no credit", 402, False),
        ({"error": {"message": "upstream gone", "code": 502}}, "upstream gone", 502, True),
        ({"error": "rate limit reached"}, "rate limit reached", 0, True),
        (
            {"choices": [{"error": {"message": "it broke", "code": 500}, "message": {"content": ""}}]},
            "it broke",
            500,
            True,
        ),
        ({"detail": [{"loc": ["body", "n"], "msg": "no"}]}, "body.n: no", 0, False),
        ({"object": "error", "message": "no such model", "code": 404}, "no such model", 404, False),
        ({"error": {"message": {"detail": [{"msg": "deep"}]}}}, "deep", 0, False),
        ({"error": {"type": "overloaded_error"}}, "overloaded_error", 0, True),
    ],
)
def test_an_error_under_any_status_keeps_the_servers_words(
    reply: Any, said: str, status: int, is_transient: bool
) -> None:
    error = find_error(reply)
    assert error is not None and (error.said, error.status, error.is_transient) == (
        said,
        status,
        is_transient,
    )
    if "choices" not in reply:
        assert quote_error(json.dumps(reply).encode()) == said
    assert find_error({"choices": [{"message": {"content": "x"}}], "message": "fine", "error": None}) is None


def test_a_stream_is_put_together_and_one_that_broke_off_is_no_reply() -> None:
    events = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "reasoning_content": "Okay, "}}]},
        {"choices": [{"index": 0, "delta": {"reasoning_content": "soup."}}]},
        {
            "choices": [
                {"index": 1, "delta": {"content": "The tea"}},
                {"index": 0, "delta": {"content": "The "}},
            ]
        },
        {"choices": [{"index": 0, "delta": {"content": "soup"}, "finish_reason": "stop"}]},
        {"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]},
        {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9}},
    ]
    stream = ": ping\r\n\r\nevent: message\r\n" + "".join(
        f"data: {json.dumps(event)}\r\n\r\n" for event in events
    )
    for content in (stream + "data: [DONE]\n\n", "\n".join(json.dumps(event) for event in events)):
        from dataclasses import replace

        first, second = read_completions(read_body(content.encode()), replace(ASK, n=2))
        assert (first.text, first.finish_reason, second.text, second.finish_reason) == (
            "The soup",
            "stop",
            "The tea",
            "length",
        )
        assert first.thought_tokens and first.usage.total + second.usage.total == 16
    failed = f'data: {json.dumps(events[0])}\n\ndata: {{"error": {{"message": "it broke"}}}}\n\n'
    assert find_error(read_body(failed.encode())).said == "it broke"  # type: ignore[union-attr]
    for broken in (f"data: {json.dumps(events[0])}\n\n", 'data: {"choi', "<html>", "[" * 100_000):
        with pytest.raises(ValueError):
            read_body(broken.encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"sure": true}',
        '```json\n{"sure": true}\n```',
        'Here is my verdict:\n\n```json\n{"sure": true}\n```\nI hope that helps.',
        '<think>perhaps {"sure": false}</think>{"sure": true}',
        'First I thought {"sure": false}, but then: {"sure": true}',
        '{"sure": true} and as an example of what I mean {"soup": 1}',
        'I weigh {the evidence} first. {"sure": true}',
    ],
)
def test_the_last_object_that_keeps_to_the_schema_counts(text: str) -> None:
    assert parse_reply(text, SCHEMA) == ({"sure": True}, "")


def test_an_answer_in_another_place_is_found_where_a_schema_was_asked_for() -> None:
    ask = ChatRequest(ASK.messages, schema=SCHEMA)
    answer = '{"sure": true}'
    for message in (
        {"content": "", "reasoning_content": answer},
        {"content": None, "tool_calls": [{"function": {"name": "reply", "arguments": answer}}]},
        {"content": {"sure": True}},
    ):
        (completion,) = read_completions({"choices": [{"message": message, "finish_reason": "stop"}]}, ask)
        assert parse_reply(completion.text, SCHEMA) == ({"sure": True}, "")
    cut = {"choices": [{"message": {"content": "", "reasoning_content": answer}, "finish_reason": "length"}]}
    assert read_completions(cut, ask)[0].text == ""


@pytest.mark.parametrize(
    ("text", "letter"),
    [("B", "B"), (" b.", "B"), ("(B)", "B"), ("**B**", "B"), ("B) because of A", "B"), ("Answer: B", "B"),
     ("The answer is B, not A.", "B"), ('{"answer": "B"}', "B"), ("\\boxed{B}", "B"), ("A is wrong.\n\nB", "B"),
     ("<think>A or B? A.</think>\nB", "B"), ("The right option is (B)", "B"), ("A soup", ""),
     ("neither", ""), ("", "")],
)  # fmt: skip
def test_a_written_letter_is_read_and_no_word_is_taken_for_one(text: str, letter: str) -> None:
    assert read_letter(text, ("A", "B")) == letter
