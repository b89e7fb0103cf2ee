"""Settings as data: the name of a model's field in each source, and how it is read.

The models declare their fields with ``setting``; everything else (reading,
"did you mean", the reference in the docs) is derived from those declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import attrs
from attrs import field, frozen

from buffr.config.problems import Problems, shown
from buffr.config.written import Broken, Listing, Scalar, Table, Tag, Written
from buffr.policy.mode import Mode

__all__ = [
    "SCHEMA_FILE",
    "Branch",
    "Kind",
    "Refused",
    "Setting",
    "Shape",
    "described",
    "embedded",
    "made",
    "setting",
    "settings_of",
    "short_of",
    "tree_of",
    "varied",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

SCHEMA_FILE = Path(__file__).with_name("buffr.schema.json")
"""The JSON Schema of a settings file, as it is installed."""

_METADATA = "buffr.config"
_EMBEDDED = "buffr.config.embedded"


class Shape(Protocol[T_co]):
    """How a setting is read: a kind of single value, or a shape of several values.

    ``allowed`` completes "must be". ``empty_ok``: a key without a value counts
    as absent. ``read`` adds to the problems and returns ``None`` if what is
    written is invalid.
    """

    @property
    def allowed(self) -> str: ...
    @property
    def empty_ok(self) -> bool: ...
    def read(self, written: Written, path: str, problems: Problems) -> T_co | None: ...


class Refused(Exception):
    """A value that its kind does not allow; the text says why, if that helps."""


@frozen
class Kind(Generic[T_co]):
    """A kind of single value.

    ``allowed`` completes "must be". ``parse`` raises ``Refused``. ``show``
    writes a value as a user would. A ``secret`` value appears in no message.
    ``json`` is the JSON Schema of the value as YAML reads it: it may allow
    more than ``parse``, but never less.
    """

    allowed: str
    parse: Callable[[Scalar], T_co]
    show: Callable[[Any], str] = str
    secret: bool = False
    json: Mapping[str, Any] = field(factory=lambda: {"type": "string"}, eq=False)
    empty_ok = False

    def read(self, written: Written, path: str, problems: Problems) -> T_co | None:
        """The value; ``None`` if it is refused, after adding the problem to ``problems``."""
        match written:
            case Broken():
                return None
            case Listing():
                said = "is a list;"
            case Table():
                said = "is a mapping;"
            case Scalar(tag=Tag.NULL):
                said = "has no value;"
            case Scalar():
                try:
                    return self.parse(written)
                except Refused as refused:
                    why = str(refused)
                    said = "the value (not shown)" if self.secret else shown(written.text)
                    said += f" {why};" if why else ""
        problems.error(written.at, path, f"{said} must be {self.allowed}")
        return None


@frozen
class Setting:
    """One setting: a field of a model, and its name in each source.

    ``key`` is the path of the YAML key within the model's section, empty if
    files cannot set it; ``variable`` and ``flag`` are empty likewise, and
    ``flag`` is spelled as in a mapping of flags (``data_dir``).
    ``default_text`` describes a default that is computed. ``modes`` are
    those that use the setting, ``None`` for all. ``within`` is the
    field of the model that holds another model with this field, or empty.
    ``short``: in files, a single word in place of the mapping that has the
    key sets it.
    """

    name: str
    key: str
    shape: Shape[object]
    default: object
    doc: str
    variable: str
    variable_shape: Shape[object]
    flag: str
    default_text: str
    modes: frozenset[Mode] | None = None
    within: str = ""
    short: bool = False

    @property
    def is_required(self) -> bool:
        return self.default is attrs.NOTHING and not self.default_text

    @property
    def may_be_empty(self) -> bool:
        """Whether a key without a value leaves the setting at its default."""
        return self.shape.empty_ok or (self.default is None and isinstance(self.shape, Kind))

    def read(self, written: Written, path: str, problems: Problems) -> object | None:
        if self.may_be_empty and isinstance(written, Scalar) and written.tag is Tag.NULL:
            return None
        return self.shape.read(written, path, problems)


def described(
    shape: Shape[object],
    doc: str,
    *,
    key: str | None = None,
    variable: str = "",
    variable_shape: Shape[object] | None = None,
    flag: str = "",
    default_text: str = "",
    modes: frozenset[Mode] | None = None,
) -> dict[str, object]:
    """Metadata that makes a field of a model a setting. The key is the field's name by default."""
    columns = {
        "key": key,
        "shape": shape,
        "doc": doc,
        "variable": variable,
        "variable_shape": variable_shape or shape,
        "flag": flag,
        "default_text": default_text,
        "modes": modes,
    }
    return {_METADATA: columns}


def setting(shape: Shape[T], default: T, doc: str, **columns: Any) -> T:
    """A field with a default that is a setting; ``columns`` as in ``described``.

    The types of shape, default and annotation have to agree, which mypy sees
    because the field pretends to be its value, as in attrs itself.
    """
    return attrs.field(default=default, metadata=described(shape, doc, **columns))


def varied(base: type, name: str, **changes: Any) -> Any:
    """A setting of ``base``, redeclared with another default or other columns.

    ``changes`` are columns as in ``described``, and ``default``.
    """
    inherited = attrs.fields_dict(base)[name]
    default = changes.pop("default", inherited.default)
    columns = dict(inherited.metadata[_METADATA]) | changes
    return attrs.field(default=default, repr=inherited.repr, metadata={_METADATA: columns})


@frozen
class _Embedded:
    """A model whose settings appear among those of another model."""

    model: type
    key: str
    word: str


def embedded(default: T, *, key: str = "", word: str = "") -> T:
    """A field that holds a nested model, whose settings appear among those of the outer one.

    ``key`` is prepended to their keys. In files, a single word in place of
    their mapping sets the field ``word``.
    """
    inner = _Embedded(type(default), key, word)
    return attrs.field(default=default, metadata={_EMBEDDED: inner})


@cache
def settings_of(model: type) -> tuple[Setting, ...]:
    """The settings that a model declares, in its order, its own before those of its base."""
    return tuple(_settings(model))


def _settings(model: type) -> list[Setting]:
    settings = []
    for attribute in sorted(attrs.fields(model), key=lambda one: one.inherited):
        inner: _Embedded | None = attribute.metadata.get(_EMBEDDED)
        if inner is not None:
            settings += [
                attrs.evolve(
                    one,
                    within=attribute.name,
                    key=inner.key + one.key,
                    short=one.name == inner.word,
                )
                for one in settings_of(inner.model)
            ]
        columns = dict(attribute.metadata.get(_METADATA, ()))
        if columns:
            key = columns.pop("key")
            columns["key"] = attribute.name if key is None else key
            settings.append(Setting(attribute.name, default=attribute.default, **columns))
    return settings


def made(model: Callable[..., T], values: Mapping[str, Any]) -> T:
    """Build a model from values by field, including those of embedded models."""
    own = dict(values)
    within: dict[str, dict[str, Any]] = {}
    declared = cast("type[attrs.AttrsInstance]", model)
    for one in settings_of(declared):
        if one.within and one.name in own:
            within.setdefault(one.within, {})[one.name] = own.pop(one.name)
    for attribute in attrs.fields(declared):
        if attribute.name in within:
            inner = attribute.metadata[_EMBEDDED].model
            own[attribute.name] = made(inner, within[attribute.name])
    return model(**own)


Branch = dict[str, "Setting | Branch"]


def short_of(branch: Branch) -> Setting | None:
    """The setting that a single word in place of the branch sets, if there is one."""
    return next((one for one in branch.values() if isinstance(one, Setting) and one.short), None)


@cache
def tree_of(model: type) -> Branch:
    """The settings of a model by their YAML keys, nested where a key has dots."""
    tree: Branch = {}
    for declared in settings_of(model):
        if declared.key:
            *parents, leaf = declared.key.split(".")
            branch = tree
            for parent in parents:
                branch = cast("Branch", branch.setdefault(parent, {}))
            branch[leaf] = declared
    return tree
