"""Types read off the models of Microsoft's management SDKs, for resources that azmcp does not carry.

The SDKs are generated from the same OpenAPI as Bicep's types. There are two generations of them: models of fields
(`rest_field`), and models with a table of attributes (`_attribute_map`).
"""

from __future__ import annotations

import importlib
import inspect
import re
import types
import typing
from enum import EnumMeta
from typing import Any

from scripts.bicepcheck.shapes import ANY, Lazy, Property, Type

MODELS = {
    "Microsoft.DurableTask/schedulers": ("azure.mgmt.durabletask", "Scheduler", ""),
    "Microsoft.DurableTask/schedulers/taskHubs": ("azure.mgmt.durabletask", "TaskHub", ""),
    "Microsoft.SignalRService/webPubSub": ("azure.mgmt.webpubsub", "WebPubSubResource", ""),
    "Microsoft.SignalRService/webPubSub/hubs": ("azure.mgmt.webpubsub", "WebPubSubHub", ""),
    "Microsoft.VirtualMachineImages/imageTemplates": ("azure.mgmt.imagebuilder", "ImageTemplate", ""),
    "Microsoft.Network/privateDnsZones": ("azure.mgmt.privatedns", "PrivateZone", ""),
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": ("azure.mgmt.privatedns", "VirtualNetworkLink", ""),
    "Microsoft.Insights/actionGroups": ("azure.mgmt.monitor", "ActionGroupResource", "_action_groups"),
    "Microsoft.Insights/metricAlerts": ("azure.mgmt.monitor", "MetricAlertResource", "_metric_alerts"),
    "Microsoft.Insights/scheduledQueryRules": (
        "azure.mgmt.monitor",
        "ScheduledQueryRuleResource",
        "_scheduled_query_rules",
    ),
}
"""Package, model, and the operations that use it where a package has not one API version for all."""


def _members(it: Any) -> dict[str, Any]:
    members: dict[str, Any] = {**vars(it)}
    return members


class Sdk:
    name = "sdk"

    def find(self, resource: str, version: str) -> Type | None:
        package, model, operations = MODELS.get(resource, ("", "", ""))
        try:
            module = importlib.import_module(f"{package}.models") if package else None
        except ImportError:
            return None
        if module is None or _version(package, operations) != version:
            return None
        return _Reader(module).model(getattr(module, model))


def _version(package: str, operations: str) -> str:
    """The one that the client asks for if nobody says otherwise."""
    if operations:
        source = inspect.getsource(importlib.import_module(f"{package}.operations.{operations}_operations"))
        versions = set(re.findall(r'"api-version", "([^"]+)"', source))
        return versions.pop() if len(versions) == 1 else ""
    configuration = importlib.import_module(f"{package}._configuration")
    classes: list[Any] = [
        it
        for _, it in inspect.getmembers(configuration, inspect.isclass)
        if it.__module__ == f"{package}._configuration"
    ]
    return str(classes[0](credential=object(), subscription_id="0").api_version)


class _Reader:
    def __init__(self, module: types.ModuleType) -> None:
        self._module = module

    def model(self, model: Any) -> Type:
        fields = self._attributes(model) if hasattr(model, "_attribute_map") else self._fields(model)
        key, choices = _choices(model)
        by_name = {name: self._lazy(self._named(each)) for name, each in choices.items()}
        extra = (lambda: ANY) if fields.pop("", None) else None
        return Type(model.__name__, properties=fields, extra=extra, chosen_by=key, choices=by_name)

    # --- models of fields ---------------------------------------------------------------------------------

    def _fields(self, model: Any) -> dict[str, Property]:
        found: dict[str, Property] = {}
        for each in reversed(model.__mro__):
            for name, annotation in _members(each).get("__annotations__", {}).items():
                rest = _members(each).get(name)
                if type(rest).__name__ != "_RestField":
                    continue
                optional, lazy = self._annotated(annotation)
                visible: Any = getattr(rest, "_visibility", None)
                wire = getattr(rest, "_rest_name_input", None) or name
                found[wire] = Property(lazy, not optional, visible == ["read"])
        return found

    def _annotated(self, annotation: Any) -> tuple[bool, Lazy]:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in (typing.Union, types.UnionType):
            rest = [each for each in arguments if each is not type(None)]
            # Union[str, Enum] is how an enumeration is written.
            enums = [each for each in rest if each is not str]
            return type(None) in arguments, self._annotated(enums[0] if enums else str)[1]
        if origin is list:
            inner = self._annotated(arguments[0])[1]
            return False, lambda: Type("a list", items=inner)
        if origin is dict:
            inner = self._annotated(arguments[1])[1]
            return False, lambda: Type("an object", properties={}, extra=inner)
        if origin is typing.Literal:
            literal = arguments[0]
            return False, lambda: Type("string", scalar=str, literals=frozenset({getattr(literal, "value", literal)}))
        name = getattr(annotation, "__forward_arg__", annotation)
        return False, self._lazy(self._named(name.rpartition(".")[2]) if isinstance(name, str) else annotation)

    # --- models with a table of attributes ----------------------------------------------------------------

    def _attributes(self, model: Any) -> dict[str, Property]:
        flat: dict[str, Property] = {}
        rules: dict[str, Any] = getattr(model, "_validation", {})
        for name, each in model._attribute_map.items():
            rule = rules.get(name, {})
            lazy = self._spelled(each["type"])
            flat[each["key"].replace("\\.", "\0")] = Property(
                lazy, bool(rule.get("required")), bool(rule.get("readonly"))
            )
        # A dot leads into `properties`; one that belongs to a name is written with a backslash.
        nested = {key.replace("\0", "."): it for key, it in flat.items() if not key.startswith("properties.")}
        inside = {key.removeprefix("properties."): it for key, it in flat.items() if key.startswith("properties.")}
        if inside:
            nested["properties"] = Property(lambda: Type("properties", properties=inside))
        return nested

    def _spelled(self, spelling: str) -> Lazy:
        if spelling.startswith("["):
            inner = self._spelled(spelling[1:-1])
            return lambda: Type("a list", items=inner)
        if spelling.startswith("{"):
            inner = self._spelled(spelling[1:-1])
            return lambda: Type("an object", properties={}, extra=inner)
        return self._lazy(self._named(spelling))

    # --- both ---------------------------------------------------------------------------------------------

    def _named(self, name: Any) -> Any:
        return (
            getattr(self._module, name, {"str": str, "int": int, "bool": bool}.get(name))
            if isinstance(name, str)
            else name
        )

    def _lazy(self, it: Any) -> Lazy:
        return lambda: self._type(it)

    def _type(self, it: Any) -> Type:
        if it in (str, int, bool):
            return Type(it.__name__, scalar=it)
        if isinstance(it, EnumMeta):
            values = frozenset(str(each.value) for each in it)  # type: ignore[attr-defined]
            return Type("string", scalar=str, literals=values, open=True)
        if isinstance(it, type) and it.__module__.startswith("azure."):
            return self.model(it)
        return ANY


def _choices(model: Any) -> tuple[str, dict[str, Any]]:
    """The property that tells the kinds of a model apart, and the model of each kind."""
    if table := _members(model).get("_subtype_map"):
        ((key, choices),) = table.items()
        return model._attribute_map[key]["key"].replace("\\.", "."), dict(choices)
    choices: dict[str, Any] = _members(model).get("__mapping__") or {}
    if not choices:
        return "", {}
    for each in model.__mro__:
        for name, it in _members(each).items():
            if type(it).__name__ == "_RestField" and getattr(it, "_is_discriminator", False):
                return getattr(it, "_rest_name_input", None) or name, dict(choices)
    return "", {}
