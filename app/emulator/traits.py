"""What makes one text model's wire differ from another's."""

from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Traits:
    """The wire habits of one text model.

    Attributes:
        form: Which body forms it validates: `legacy`, `chat` (OpenAI-shaped) or `gpt-oss` (the hybrid).
        result: Shape of an unstreamed `/ai/run` answer to `messages`.
        prompt_result: Shape of an unstreamed `/ai/run` answer to `prompt`.
        run_stream: What `/ai/run` does with `stream: true`; `empty` is Q6.
        reasoning: Where thinking goes: a field, inline tags, or nowhere (Q20).
        usage: How usage is spread over a `/v1` stream (Q2, Q3, Q4, Q22, Q38).
        role_chunk: Whether a `/v1` stream opens with a role.
        stop_reason: Whether harmony's numeric stop reasons show (Q53).
        cut_reason: The finish reason of an answer cut by its token limit (Q1).
        default_limit: Tokens generated when the request names no limit.
        run_numbers: Whether number tokens are JSON numbers on `/ai/run` (Q5).
        chat_numbers: The same on `/v1`.
        calls: Shape of calls in an unstreamed native result.
        call_ids: How call ids are minted (Q14).
        arguments: How call arguments are encoded (Q16).
        arguments_first: Whether argument fragments precede the name (Q15).
        index_reset: Whether every call claims index 0 (Q15).
        finaliser: Whether a native tool stream ends with an all-null element.
        null_final: Whether the usage frame of a native stream holds `response: null` (Q44).
        frame_calls: Whether every native frame carries `tool_calls: []`.
        run_finish: Whether native streams tell a finish reason.
        null_calls: Whether text chunks carry `tool_calls: null` (Q22).
        leak: Calls written as text: `json` (Q11), `xml` on any stream, `xml-run` on native streams (Q55).
        chat_tools: Whether tools work on `/v1` (Q13).
        call_finish: The finish reason beside calls (Q42).
        no_calls: `always` or, when a call is required of an unstreamed answer, calls vanish (Q10).
        array_content: Whether content may be an array of parts (Q18).
        object_content: Whether JSON mode puts the parsed value into `message.content` (Q26).
        cached: Whether cached prompt tokens are reported.
        reasoning_tokens: Whether usage tells the reasoning tokens.
        window: The enforced context window when it is smaller than the catalogue's (Q31).
    """

    form: Literal["legacy", "chat", "gpt-oss"] = "legacy"
    result: Literal["response", "chat"] = "response"
    prompt_result: Literal["response", "chat", "text"] = "response"
    run_stream: Literal["response", "chunks", "empty"] = "response"
    reasoning: Literal["none", "reasoning_content", "reasoning", "think", "think-no-open"] = "none"
    usage: Literal["twice", "twice-zero", "deltas", "deltas-only", "cumulative", "once", "null", "none", "zero"] = (
        "twice-zero"
    )
    role_chunk: bool = False
    stop_reason: bool = False
    cut_reason: Literal["stop", "length"] = "stop"
    default_limit: int | None = 256
    run_numbers: bool = True
    chat_numbers: bool = False
    calls: Literal["bare", "object", "string"] = "bare"
    call_ids: Literal["random", "functions", "same"] = "random"
    arguments: Literal["string", "object", "double"] = "string"
    arguments_first: bool = False
    index_reset: bool = False
    finaliser: bool = True
    null_final: bool = False
    frame_calls: bool = False
    run_finish: bool = False
    null_calls: bool = False
    leak: Literal["none", "json", "xml", "xml-run"] = "none"
    chat_tools: bool = True
    call_finish: Literal["tool_calls", "stop"] = "tool_calls"
    no_calls: Literal["never", "required", "always"] = "never"
    array_content: bool = True
    object_content: bool = True
    cached: bool = False
    reasoning_tokens: bool = False
    window: int | None = None


LEGACY = Traits()
GPT_OSS = Traits(
    form="gpt-oss",
    result="chat",
    run_stream="empty",
    reasoning="reasoning_content",
    usage="twice",
    role_chunk=True,
    stop_reason=True,
    cut_reason="length",
    run_numbers=False,
    calls="string",
    finaliser=False,
    object_content=False,
    cached=True,
)
CHAT = Traits(
    form="chat",
    result="chat",
    prompt_result="chat",
    run_stream="chunks",
    reasoning="reasoning_content",
    usage="once",
    role_chunk=True,
    cut_reason="length",
    default_limit=None,
    run_numbers=False,
    calls="string",
    finaliser=False,
    object_content=False,
    cached=True,
)
# Scenario models take every form and stream on every route, so that each fault can be met on each of them.
SCENARIO = replace(GPT_OSS, run_stream="response")

BY_FORM = {"legacy": LEGACY, "gpt-oss": GPT_OSS, "chat": CHAT}

BY_MODEL: dict[str, dict[str, Any]] = {
    "@cf/zai-org/glm-4.7-flash": {"arguments_first": True},
    "@cf/zai-org/glm-5.2": {"window": 256_000, "reasoning_tokens": True},
    "@cf/zai-org/glm-5.3": {"reasoning_tokens": True},
    "@cf/zai-org/glm-5.3-flash": {"usage": "deltas", "chat_numbers": True, "run_numbers": True},
    "@cf/moonshotai/kimi-k2.6": {"reasoning": "reasoning", "call_ids": "functions", "run_stream": "empty"},
    "@cf/moonshotai/kimi-k2.7-code": {
        "reasoning": "reasoning",
        "call_ids": "functions",
        "run_stream": "empty",
    },
    "@cf/deepseek-ai/deepseek-v4-flash-0731": {"null_calls": True},
    "@cf/deepseek-ai/deepseek-v4-pro-0813": {"null_calls": True, "index_reset": True},
    "@cf/google/gemma-4-26b-a4b-it": {"reasoning": "reasoning", "no_calls": "required", "window": 131_072},
    "@cf/nvidia/nemotron-3-120b-a12b": {"call_ids": "same"},
    "@cf/swiss-ai/apertus-v1.5-8b": {"reasoning": "none"},
    "@cf/utter-project/eurollm-9b-it": {"reasoning": "none"},
    "@cf/meta/llama-3.3-70b-instruct-fp8-fast": {"chat_tools": False},
    "@cf/meta/llama-3.2-3b-instruct": {"null_final": True},
    "@cf/meta/llama-3.2-1b-instruct": {"frame_calls": True},
    "@cf/qwen/qwen2.5-coder-32b-instruct": {"run_finish": True},
    "@cf/meta/llama-4-scout-17b-16e-instruct": {"calls": "object"},
    "@cf/mistralai/mistral-small-3.1-24b-instruct": {"leak": "xml-run", "call_finish": "stop"},
    "@cf/qwen/qwen3-30b-a3b-fp8": {
        "result": "chat",
        "prompt_result": "text",
        "run_stream": "chunks",
        "reasoning": "reasoning_content",
        "usage": "cumulative",
        "calls": "string",
        "role_chunk": True,
    },
    "@cf/aisingapore/gemma-sea-lion-v4-27b-it": {"result": "chat", "prompt_result": "text", "calls": "string"},
    "@cf/qwen/qwq-32b": {"reasoning": "think"},
    "@cf/deepseek-ai/deepseek-r1-distill-qwen-32b": {
        "result": "chat",
        "reasoning": "think-no-open",
        "arguments": "double",
        "calls": "string",
    },
    "@cf/ibm-granite/granite-4.0-h-micro": {"result": "chat", "arguments": "double", "calls": "string"},
    "@cf/google/gemma-2b-it-lora": {"array_content": False},
    "@cf/google/gemma-7b-it-lora": {"array_content": False},
    "@cf/meta-llama/llama-2-7b-chat-hf-lora": {"array_content": False},
    "@cf/mistral/mistral-7b-instruct-v0.2-lora": {"array_content": False},
}


def traits_of(model: str, form: str) -> Traits:
    """Return the wire habits of a catalogue model."""
    return replace(BY_FORM[form], **BY_MODEL.get(model, {}))
