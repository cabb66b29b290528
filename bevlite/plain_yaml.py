"""YAML as configurations may use it: text as keys, numbers, text, lists and mappings; no objects, dates or bombs."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent, ScalarEvent

LARGEST = 1 << 20
"""Characters of a file."""
DEEPEST = 64
"""Levels of lists and mappings."""
MOST = 100_000
"""Values, those that aliases repeat counted again."""
LONGEST = 300
"""Characters of a message: a file may hold anything."""
_TAG = "tag:yaml.org,2002:"
_SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Builds no objects; libyaml's parser where PyYAML has it, which is ten times as fast."""
_TAGS = {"!", *(_TAG + kind for kind in ("str", "int", "float", "bool", "null", "map", "seq"))}


class PlainYamlError(ValueError):
    """A text that is not plain YAML, in one short line."""


def load_plain(text: str) -> Any:
    """The value of a YAML text.

    Sizes are looked at before anything is built, so a text of a few hundred bytes cannot take minutes or gigabytes.

    Raises:
        PlainYamlError: it is no YAML, too large, deeper than `DEEPEST`, repeats itself beyond `MOST`, names a tag of an
            object, or has a key that is no text or stands twice.
    """
    if len(text) > LARGEST:
        raise PlainYamlError(f"found {len(text)} characters; accepted: at most {LARGEST}")
    try:
        _measure(text)
        return yaml.load(text, Loader=_Loader)
    except PlainYamlError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:  # a number of 5000 digits, say
        raise PlainYamlError(short(str(error))) from None


def short(text: str) -> str:
    """A text in one line of bounded length."""
    words = " ".join(text[: 4 * LONGEST].split())
    line = "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in words)
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def _measure(text: str) -> None:
    """Refuse a text by its events, of which none holds another."""
    sizes: dict[str, int] = {}  # of each anchor that is complete
    open_anchors: list[str | None] = []
    counts = [0]
    for event in yaml.parse(text, Loader=_SAFE):
        if isinstance(event, AliasEvent):
            name = event.anchor or ""
            if name in open_anchors:
                raise PlainYamlError(f"found *{short(name)} inside of itself; accepted: values with an end")
            counts[-1] += sizes.get(name, 1)
        elif isinstance(event, CollectionEndEvent):
            size, anchor = counts.pop() + 1, open_anchors.pop()
            if anchor is not None:
                sizes[anchor] = size
            counts[-1] += size
        elif isinstance(event, NodeEvent):
            _check_tag(event)
            if isinstance(event, CollectionStartEvent):
                counts.append(0)
                open_anchors.append(event.anchor)
                if len(open_anchors) > DEEPEST:
                    raise PlainYamlError(f"found more than {DEEPEST} levels; accepted: at most {DEEPEST}")
            else:
                counts[-1] += 1
                if event.anchor is not None:
                    sizes[event.anchor] = 1
        if sum(counts) > MOST:
            raise PlainYamlError(f"found more than {MOST} values, repeated ones counted; accepted: at most {MOST}")


def _check_tag(event: NodeEvent) -> None:
    if isinstance(event, (ScalarEvent, CollectionStartEvent)) and event.tag is not None and event.tag not in _TAGS:
        tag = event.tag.replace(_TAG, "!!")
        raise PlainYamlError(f"found the tag {short(tag)}; accepted: numbers, text, lists and mappings")


class _Loader(_SAFE):
    """A safe loader that knows no dates, and whose keys are texts that stand once (YAML would keep the last)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node, its keys looked at first (raises PlainYamlError)."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                found = short(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
                raise PlainYamlError(f"key {found}: found no text; accepted: text as keys, in quotes where needed")
            if key in seen:
                line = key_node.start_mark.line + 1
                raise PlainYamlError(f"key '{short(key)}' is given twice, the second time in line {line}")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_TAG + "timestamp", _TAG + "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
