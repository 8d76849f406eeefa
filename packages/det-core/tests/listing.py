"""Modules of tests whose parts a recipe may build, as if an installed plugin listed them."""

import importlib

from det_core.recipes import allow_list

_LISTED = allow_list.listed


def list_parts(*modules):
    """List everything public that can be called in modules, by their names; they are imported when the list is."""

    def listed():
        own = {}
        for module in modules:
            content = vars(importlib.import_module(module))
            own |= {f"{module}:{name}": "" for name, value in content.items() if callable(value) and name[:1] != "_"}
        return _LISTED() | own

    allow_list.listed = listed
