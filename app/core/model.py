"""The facts about one model that translation depends on."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from app.core.embedding import Embedding
from app.core.media import Drawing, Hearing, Speaking

DialectName = Literal["chat", "native"]
"""What is spoken to the upstream: ``/ai/v1/chat/completions`` or ``/ai/run/{model}``."""

Shape = Literal["legacy", "openai", "hybrid"]
"""Which request schema the upstream validates: Cloudflare's older one, OpenAI's, or gpt-oss's mixture of both."""


class Price(Struct, frozen=True):
    """USD per million tokens; ``None`` where Cloudflare publishes no price.

    Attributes:
        input: Per million input tokens.
        output: Per million output tokens.
        cached_input: Per million input tokens that were in the prefix cache.
        units: USD in Cloudflare's other units, such as ``("per audio minute", 0.0005)``.
    """

    input: float | None = None
    output: float | None = None
    cached_input: float | None = None
    units: tuple[tuple[str, float], ...] = ()


class ReasoningEfforts(Struct, frozen=True):
    """The reasoning efforts that a model takes.

    Attributes:
        supported: In Cloudflare's words, such as ``low``.
        default: What the model does when nothing is asked.
        mandatory: Reasoning cannot be turned off.
    """

    supported: tuple[str, ...]
    default: str | None = None
    mandatory: bool = False


class Model(Struct, frozen=True):
    """One model in Cloudflare's catalogue.

    Attributes:
        id: What Cloudflare calls it, such as ``@cf/openai/gpt-oss-120b``.
        task: Cloudflare's task name, such as ``Text Generation``.
        dialect: What we speak to it.
        tools_dialect: What we speak to it when it is to call tools, where that is another one.
        shape: Which request schema it validates.
        context_window: Tokens of input and output together; ``None`` when unknown.
        function_calling: It calls tools.
        reasoning: It thinks before it answers.
        vision: It reads images.
        json_schema: Where it wants a JSON schema: ``bare``, in OpenAI's ``envelope``, or not at all.
        thinks_inline: Its reasoning comes inside the text and ends with ``</think>``; the opening tag may be missing.
        reasoning_efforts: The efforts it takes; ``None`` when it has no such knob.
        requires_paid: The account must be on the Workers Paid plan.
        chat: It holds a conversation (moderation and decision models do not).
        price: What it costs.
        neurons_per_million: Neurons per million input and output tokens, when known.
        created: When it appeared in the catalogue, in Unix seconds; 0 when unknown.
        description: One line about it.
        dimensions: Of an embedding model: the length of its vectors, when known.
        max_input_tokens: Of an embedding model: the longest input it reads, when known.
        deprecated_on: The day on which Cloudflare plans to retire it, as ``YYYY-MM-DD``.
        moderates: It tells safe texts from unsafe ones, as Llama Guard does.
        reranks: It ranks texts by a query.
        embedding: Of an embedding model: how it is asked; ``None`` when unknown.
        hearing: Of a model of speech recognition: how it is asked.
        speaking: Of a model of speech synthesis: likewise.
        drawing: Of a model of pictures: likewise.
    """

    id: str
    task: str = "Text Generation"
    dialect: DialectName = "chat"
    tools_dialect: DialectName | None = None
    shape: Shape = "legacy"
    context_window: int | None = None
    function_calling: bool = False
    reasoning: bool = False
    vision: bool = False
    json_schema: Literal["bare", "envelope", "none"] = "bare"
    thinks_inline: bool = False
    reasoning_efforts: ReasoningEfforts | None = None
    requires_paid: bool = False
    chat: bool = True
    price: Price = field(default_factory=Price)
    neurons_per_million: tuple[float, float] | None = None
    created: int = 0
    description: str = ""
    dimensions: int | None = None
    max_input_tokens: int | None = None
    deprecated_on: str | None = None
    moderates: bool = False
    reranks: bool = False
    embedding: Embedding | None = None
    hearing: Hearing | None = None
    speaking: Speaking | None = None
    drawing: Drawing | None = None

    @property
    def short_name(self) -> str:
        """The last part of the id, such as ``gpt-oss-120b``."""
        return self.id.rpartition("/")[2]

    @property
    def names(self) -> tuple[str, str]:
        """What it is called where a key says which models it may use."""
        return self.id, self.short_name

    @property
    def owner(self) -> str:
        """Who made it: the middle part of the id, such as ``openai``."""
        return self.id.removeprefix("@").split("/")[1] if self.id.count("/") > 1 else "cloudflare"
