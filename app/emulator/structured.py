"""Values that satisfy a JSON Schema, for JSON mode and tool arguments."""

import random
import re
from collections.abc import Mapping
from typing import Any

from app.emulator.errors import engine_refused
from app.emulator.jsonvalue import Json

_FORMATS = {
    "date": "2026-05-17",
    "date-time": "2026-05-17T12:30:00Z",
    "time": "12:30:00Z",
    "duration": "PT1H",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.7",
    "ipv6": "2001:db8::7",
    "uri": "https://example.com/",
    "uuid": "0b9d3c4e-5a1f-4c2d-9e8b-7f6a5d4c3b2a",
}
_DEEPEST = 24


class Synthesiser:
    """Makes values for a schema out of the words of a prompt.

    Args:
        root: The schema, against which `$ref` is resolved.
        prompt: Text whose names, quotations and numbers are used where they fit.
        rng: Source of the little variety there is.
    """

    def __init__(self, root: Mapping[str, Any], prompt: str, rng: random.Random) -> None:
        self._root = root
        self._prompt = prompt
        self._rng = rng
        quoted = re.findall(r"[\"“'«]([^\"”'»\n]{1,60})[\"”'»]", prompt)
        names = [name for name in re.findall(r"(?<=[\w,] )[^\W\d_a-z][^\W\d_]+", prompt) if name != "I"]
        self._words = [*quoted, *names]
        self._numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", prompt)]

    def whole(self) -> Json:
        """Return a value for the root schema.

        Raises:
            CloudflareError: 8007 when the schema is no schema, as an engine's own parser would.
        """
        try:
            return self.value(self._root)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as problem:
            raise engine_refused(f"The schema is not valid: {problem}") from problem

    def value(self, schema: Json, name: str = "value", depth: int = 0) -> Json:
        """Return a value for one schema; `name` is the property it is for."""
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return name if schema is True else None
        schema = self._flat(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._chosen(schema["enum"])
        if "default" in schema and depth:
            return schema["default"]
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if kind is None:
            kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer" | "number":
                return self._number(schema, whole=kind == "integer")
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return self._string(schema, name)

    def _flat(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Follow `$ref` and fold `allOf`, and take the first branch of an alternative."""
        for _ in range(_DEEPEST):
            if "$ref" in schema:
                rest = {key: part for key, part in schema.items() if key != "$ref"}
                schema = {**self._resolved(str(schema["$ref"])), **rest}
            elif schema.get("allOf"):
                schema = _folded([{k: v for k, v in schema.items() if k != "allOf"}, *schema["allOf"]])
            elif branches := schema.get("anyOf") or schema.get("oneOf"):
                rest = {key: part for key, part in schema.items() if key not in {"anyOf", "oneOf"}}
                best = next((branch for branch in branches if branch != {"type": "null"}), branches[0])
                schema = _folded([rest, best]) if isinstance(best, Mapping) else rest
            else:
                break
        return schema

    def _resolved(self, pointer: str) -> Mapping[str, Any]:
        place: Any = self._root
        for step in pointer.removeprefix("#").split("/")[1:]:
            place = place.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(place, dict) else {}
        return place if isinstance(place, Mapping) else {}

    def _chosen(self, options: list[Any]) -> Json:
        said = self._prompt.lower()
        return next((one for one in options if isinstance(one, str) and one.lower() in said), options[0])

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        wanted = schema.get("required", []) if depth > 6 else [*properties, *schema.get("required", [])]
        return {name: self.value(properties.get(name, True), name, depth + 1) for name in dict.fromkeys(wanted)}

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        length = max(schema.get("minItems", 0), min(1 if depth < 6 else 0, schema.get("maxItems", 1)))
        unique = schema.get("uniqueItems")
        found = [self.value(schema.get("items", True), name, depth + 1) for _ in range(length)]
        if unique and length > 1:
            found = [_varied(item, place) for place, item in enumerate(found)]
        return found

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float:
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        step = schema.get("multipleOf") or (1 if whole else None)
        guesses = [*self._numbers, 7, low, high]
        if low is not None:
            guesses += [low + 1, low + (step or 0.5)]
            if step:
                guesses += [(low // step + times) * step for times in (0, 1, 2)]
            if high is not None:
                guesses.append((low + high) / 2)
        elif high is not None:
            guesses += [high - 1, high - (step or 0.5)] + ([(high // step) * step] if step else [])
        if step:
            guesses += [step, 0]
        for guess in guesses:
            if guess is not None and _fits(guess, schema, step):
                return int(guess) if float(guess).is_integer() else guess
        return 0

    def _string(self, schema: Mapping[str, Any], name: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = self._words[0] if self._words else f"{name} {self._rng.choice(('one', 'two', 'three'))}"
        if "pattern" in schema:
            text = _matching(str(schema["pattern"]), [text, name, *self._words])
        text = text[: schema["maxLength"]] if "maxLength" in schema else text
        return text.ljust(schema.get("minLength", 0), "x")


def _fits(guess: float, schema: Mapping[str, Any], step: float | None) -> bool:
    return (
        guess >= schema.get("minimum", guess)
        and guess <= schema.get("maximum", guess)
        and ("exclusiveMinimum" not in schema or guess > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or guess < schema["exclusiveMaximum"])
        and (not step or float(guess / step).is_integer())
    )


def _folded(schemas: list[Any]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for schema in schemas:
        for key, part in schema.items():
            if key == "properties":
                whole[key] = {**whole.get(key, {}), **part}
            elif key == "required":
                whole[key] = [*whole.get(key, []), *part]
            else:
                whole[key] = part
    return whole


def _varied(item: Json, place: int) -> Json:
    if isinstance(item, str):
        return f"{item} {place}"
    return item + place if isinstance(item, (int, float)) and not isinstance(item, bool) else item


def _matching(pattern: str, guesses: list[str]) -> str:
    plain = ("a", "abc", "A", "ABC", "Abc", "1", "12", "123", "1234", "12345", "AB12", "abc-123", "2026-05-17")
    for guess in (*guesses, *plain):
        try:
            if re.search(pattern, guess):
                return guess
        except re.error:
            break
    return guesses[0]
