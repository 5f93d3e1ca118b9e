"""How many tokens a request's input has, estimated: no model on Workers AI counts without generating."""

from __future__ import annotations

from app.core.request import GenerationRequest
from app.dialects.messages import estimate_messages
from app.dialects.scalars import estimate_json_tokens


def count_input(request: GenerationRequest) -> int:
    """Estimate the tokens of a request's input: the conversation, the tools on offer and the schema of the answer."""
    total = estimate_messages(request.messages)
    for tool in request.tools:
        function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        total += estimate_json_tokens({"type": "function", "function": function})
    form = request.response_format
    if form is not None and form.schema is not None:
        total += estimate_json_tokens({"name": form.name, "description": form.description, "schema": form.schema})
    return total
