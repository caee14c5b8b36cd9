# SPDX-License-Identifier: Apache-2.0
"""A small checker of JSON Schema, as far as smplkit's OpenAPI documents use it. A keyword it does not know
fails the test: what is not understood must not pass for checked."""

import json
import re
from datetime import datetime

import kit

DATA = kit.ROOT / "tests" / "data" / "smplkit-openapi"
NOTES = {"title", "description", "example", "default", "readOnly"}
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


class Document:
    def __init__(self, name):
        self.doc = json.loads((DATA / f"{name}.json").read_text())

    def operation(self, method, path):
        return self.doc["paths"][path][method.lower()]

    def response_schema(self, method, path, status):
        """Schema of a documented response; None if it has no body. Undocumented statuses fail."""
        responses = self.operation(method, path)["responses"]
        assert str(status) in responses, f"{method} {path}: {status} is not documented"
        content = responses[str(status)].get("content")
        return content["application/vnd.api+json"]["schema"] if content else None

    def request_schema(self, method, path):
        return self.operation(method, path)["requestBody"]["content"]["application/vnd.api+json"]["schema"]

    def check(self, value, schema, at=""):
        """Raises AssertionError with the place of the first difference."""
        if "$ref" in schema:
            target = self.doc
            for part in schema["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            return self.check(value, target, at)
        if value is None and schema.get("nullable"):
            return None
        for keyword in schema:
            if keyword not in NOTES:
                getattr(self, f"on_{keyword}", self.unknown(keyword, at))(value, schema, at)
        return None

    @staticmethod
    def unknown(keyword, at):
        def fail(*_):
            raise AssertionError(f"{at}: the checker does not know '{keyword}'")

        return fail

    def on_nullable(self, value, schema, at):
        pass

    def on_type(self, value, schema, at):
        kind = schema["type"]
        right = isinstance(value, TYPES[kind]) and not (
            kind in ("integer", "number") and isinstance(value, bool)
        )
        assert right, f"{at}: expected {kind}, got {value!r}"

    def on_properties(self, value, schema, at):
        if isinstance(value, dict):
            for name, sub in schema["properties"].items():
                if name in value:
                    self.check(value[name], sub, f"{at}/{name}")

    def on_required(self, value, schema, at):
        if isinstance(value, dict):
            missing = [n for n in schema["required"] if n not in value]
            assert not missing, f"{at}: {missing} missing"

    def on_additionalProperties(self, value, schema, at):
        if not isinstance(value, dict):
            return
        rest = [n for n in value if n not in schema.get("properties", {})]
        if schema["additionalProperties"] is False:
            assert not rest, f"{at}: {rest} not expected"
        elif isinstance(schema["additionalProperties"], dict):
            for name in rest:
                self.check(value[name], schema["additionalProperties"], f"{at}/{name}")

    def on_items(self, value, schema, at):
        if isinstance(value, list):
            for i, entry in enumerate(value):
                self.check(entry, schema["items"], f"{at}/{i}")

    def on_anyOf(self, value, schema, at):
        errors = []
        for sub in schema["anyOf"]:
            try:
                return self.check(value, sub, at)
            except AssertionError as e:
                errors.append(str(e))
        raise AssertionError(f"{at}: none of anyOf: {errors}")

    def on_enum(self, value, schema, at):
        assert value in schema["enum"], f"{at}: {value!r} is none of {schema['enum']}"

    def on_const(self, value, schema, at):
        assert value == schema["const"], f"{at}: {value!r} is not {schema['const']!r}"

    def on_maxLength(self, value, schema, at):
        assert not isinstance(value, str) or len(value) <= schema["maxLength"], f"{at}: too long"

    def on_minLength(self, value, schema, at):
        assert not isinstance(value, str) or len(value) >= schema["minLength"], f"{at}: too short"

    def on_format(self, value, schema, at):
        if schema["format"] == "date-time":
            datetime.fromisoformat(value.replace("Z", "+00:00"))
        elif schema["format"] == "uuid":
            assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value), f"{at}: no UUID"
        else:
            self.unknown(f"format {schema['format']}", at)()
