"""A descriptor by import path: any featurizer of matminer's kind, or a user's own."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

from matminer.featurizers.structure import SiteStatsFingerprint
from pydantic import ConfigDict, Field, PrivateAttr, TypeAdapter, ValidationError, model_validator

from active_learning.domain.hints import did_you_mean
from active_learning.errors import UserError
from active_learning.featurizers.descriptor import Calculator, Decorable, Statistics
from active_learning.featurizers.selected import Selected

__all__ = ["Imported"]

Takes = Literal["composition", "crystal", "sites"]

_FOLDERS: Mapping[str, Takes] = {
    "matminer.featurizers.composition": "composition",
    "matminer.featurizers.structure": "crystal",
    "matminer.featurizers.site": "sites",
}
_WORDS: Mapping[str, Takes] = {
    "comp": "composition",
    "composition": "composition",
    "s": "crystal",
    "strc": "crystal",
    "struct": "crystal",
    "structure": "crystal",
    "crystal": "crystal",
}


class Imported(Decorable):
    """A featurizer by import path; keys that are not listed here are arguments of its constructor."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    path: str = Field(description="module:Class, or module.Class")
    takes: Takes | None = Field(
        default=None, description="What it looks at: composition, crystal or sites; found out where that is possible"
    )
    preset: str | None = Field(default=None, description="Build it by its `from_preset` with this name")
    columns: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Take only these of its features, by name"
    )

    _class: Any = PrivateAttr()
    _looks_at: Takes = PrivateAttr()
    _statistics: Sequence[str] = PrivateAttr(default=("mean", "std_dev"))

    @model_validator(mode="after")
    def _find(self) -> Self:
        self._class = _featurizer_class(self.path)
        self._looks_at = self.takes or _looks_at(self._class, self.path)
        arguments = dict(self.model_extra or {})
        if self._looks_at == "sites" and "stats" in arguments:
            try:
                self._statistics = TypeAdapter(Statistics).validate_python(arguments.pop("stats"))
            except ValidationError as error:
                raise ValueError(f"stats: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
        _check_arguments(self._builder, self.path, arguments, self.preset is not None)
        return self

    @property
    def of_composition(self) -> bool:
        return self._looks_at == "composition"

    @property
    def _builder(self) -> Callable[..., Any]:
        if self.preset is None:
            built: Callable[..., Any] = self._class
            return built
        if not callable(getattr(self._class, "from_preset", None)):
            raise ValueError(f"{self.path} has no presets")
        from_preset: Callable[..., Any] = self._class.from_preset
        return from_preset

    def calculator(self) -> Calculator:
        arguments = dict(self.model_extra or {})
        if self._looks_at == "sites":
            arguments.pop("stats", None)
        preset = () if self.preset is None else (self.preset,)
        try:
            theirs = self._builder(*preset, **arguments)
            if self._looks_at == "sites":
                theirs = SiteStatsFingerprint(theirs, stats=tuple(self._statistics))
            theirs.feature_labels()
        except Exception as error:  # somebody's code may raise anything
            raise UserError(_cannot(self.path, error)) from error
        return theirs if self.columns is None else Selected(theirs, self.columns)


def _cannot(path: str, error: Exception) -> str:
    what = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if type(error).__name__ == "NotFittedError" or "fit" in str(error).lower().split():
        return (
            f"The descriptor '{path}' must be fitted to crystals before it knows its features ({what}), so its features"
            " would depend on the pool. Descriptors that need no fitting: see the options 'elements' of bond_fractions"
            " and partial_radial_distribution, and 'max_atoms' of sine_coulomb_matrix."
        )
    return f"The descriptor '{path}' cannot be built: {what}."


def _featurizer_class(path: str) -> Any:
    module_name, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    if not module_name or not name:
        raise ValueError(f"{path!r} is no import path; write it as 'module:Class'")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(f"{path}: there is no module {error.name!r}") from error
    except Exception as error:  # importing runs somebody's code
        raise ValueError(f"{path}: importing {module_name} raised {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if found is None:
        names = [key for key, value in vars(module).items() if _is_featurizer(value)]
        hint = did_you_mean(name, names) or f" Its featurizers: {', '.join(sorted(names)) or 'none'}."
        raise ValueError(f"module {module_name} has no {name!r}.{hint}")
    if not _is_featurizer(found):
        raise ValueError(f"{path} is not a featurizer: a class with the methods featurize and feature_labels")
    return found


def _is_featurizer(value: Any) -> bool:
    return isinstance(value, type) and all(
        callable(getattr(value, method, None)) for method in ("featurize", "feature_labels")
    )


def _looks_at(found: Any, path: str) -> Takes:
    parameters = list(inspect.signature(found.featurize).parameters.values())[1:]
    by_place = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in by_place if p.default is p.empty]
    if len(required) == 2:
        return "sites"
    for folder, takes in _FOLDERS.items():
        if found.__module__.startswith(folder):
            return takes
    for parameter in parameters[:1]:
        named = _WORDS.get(str(getattr(parameter.annotation, "__name__", parameter.annotation)).lower())
        if named or parameter.name in _WORDS:
            return named or _WORDS[parameter.name]
    raise ValueError(
        f"it cannot be seen whether {path} looks at a composition or a crystal: write takes = 'composition',"
        " takes = 'crystal', or takes = 'sites' if its featurize takes a structure and the index of a site"
    )


def _check_arguments(build: Callable[..., Any], path: str, given: Mapping[str, Any], has_preset: bool) -> None:
    parameters = list(inspect.signature(build).parameters.values())[int(has_preset) :]
    known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    faults = []
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for name in sorted(set(given) - set(known)):
            hint = did_you_mean(name, known) or f" It has: {', '.join(known) or 'none'}."
            faults.append(f"{path} has no argument {name!r}.{hint}")
    missing = [p.name for p in parameters if p.name in known and p.default is p.empty and p.name not in given]
    if missing:
        faults.append(f"{path} needs {', '.join(missing)}")
    if faults:
        raise ValueError("; ".join(faults))
