"""The JSON Schema of ``buffr.yaml``, generated from the models, for editors.

``python -m buffr.config.json_schema`` writes ``buffr.schema.json`` in this
directory, and its copy in ``docs`` if there is one.
"""

from __future__ import annotations

import json
from typing import Any

from buffr.config.model import Config
from buffr.config.reference import default_of
from buffr.config.schema import SCHEMA_FILE, Branch, Kind, Setting, settings_of, short_of, tree_of
from buffr.config.shapes import Drafted, ListOf, MapOf, NamedRows, Rows, Rules, Section
from buffr.policy.mode import Mode

__all__ = ["json_schema", "schema_text"]

Schema = dict[str, Any]


def json_schema() -> Schema:
    """The schema, in draft 7, which editors support best."""
    models: dict[type, Schema] = {}
    root = _model(Config, models)
    definitions = {model.__name__: schema for model, schema in models.items()}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Settings of buffr",
        **root,
        "definitions": dict(sorted(definitions.items())),
    }


def _model(model: type, models: dict[type, Schema]) -> Schema:
    return _branch(tree_of(model), models)


def _branch(branch: Branch, models: dict[type, Schema]) -> Schema:
    properties, required = {}, []
    for key, one in branch.items():
        if isinstance(one, Setting):
            properties[key] = _setting(one, models)
            if one.is_required:
                required.append(key)
        else:
            properties[key] = _or_null(_deeper(one, models))
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def _deeper(branch: Branch, models: dict[type, Schema]) -> Schema:
    short, schema = short_of(branch), _branch(branch, models)
    return schema if short is None else {"anyOf": [_setting(short, models), schema]}


def _setting(one: Setting, models: dict[type, Schema]) -> Schema:
    schema = _shape(one.shape, models)
    if one.may_be_empty:
        schema = _or_null(schema)
    return {"description": _description(one)} | schema


def _description(one: Setting) -> str:
    words = [one.doc]
    if one.modes is not None:
        words.append(f"Modes: {', '.join(mode.value for mode in Mode if mode in one.modes)}.")
    if not hasattr(one.shape, "model"):
        words.append(f"Must be {one.shape.allowed}.")
        words.append(f"Default: {default_of(one)}.")
    return " ".join(words)


def _shape(shape: object, models: dict[type, Schema]) -> Schema:
    match shape:
        case Kind():
            return dict(shape.json)
        case ListOf():
            item = _shape(shape.item, models)
            listing: Schema = {"type": "array", "items": item}
            if shape.least:
                listing["minItems"] = shape.least
            return {"anyOf": [item, listing]}
        case MapOf():
            return {"type": "object", "additionalProperties": _shape(shape.value, models)}
        case Rows() | Rules():
            return {"type": "array", "items": _reference(shape.model, models)}
        case NamedRows():
            return {
                "type": "object",
                "propertyNames": _shape(shape.name, models),
                "additionalProperties": _reference(shape.model, models),
            }
        case Section(model, word) if word:
            declared: Any = model
            (short,) = [one for one in settings_of(declared) if one.key == word]
            return {"anyOf": [_shape(short.shape, models), _reference(model, models)]}
        case Section() | Drafted():
            return {"allOf": [_reference(shape.model, models)]}
    raise TypeError(shape)


def _reference(model: type, models: dict[type, Schema]) -> Schema:
    if model not in models:
        models[model] = {}
        models[model] = _model(model, models)
    return {"$ref": f"#/definitions/{model.__name__}"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def schema_text() -> str:
    """The schema as it stands in its file."""
    return json.dumps(json_schema(), indent=1) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), "utf-8")
    docs = SCHEMA_FILE.parents[2] / "docs"
    if docs.is_dir():
        (docs / SCHEMA_FILE.name).write_text(schema_text(), "utf-8")
