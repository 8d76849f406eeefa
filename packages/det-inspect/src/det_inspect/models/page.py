"""Costs of a model as a self-contained page."""

from collections.abc import Sequence
from html import escape

from det_inspect.models.costs import ModuleCost

__all__ = ["costs_page", "depth_of", "with_unit"]

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1e1e1e; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: .15rem .9rem .15rem 0; text-align: left; white-space: nowrap }
.n { text-align: right; font-variant-numeric: tabular-nums } td.bar { width: 16rem }
td.bar div { height: .7rem; border-radius: 2px; background: #2f6fb2 } .kind { color: #666 }
"""


def depth_of(name: str) -> int:
    """Depth of a module: 0 for the model, 1 for its children."""
    return name.count(".") + 1 if name else 0


def with_unit(count: int) -> str:
    """A number with three digits and a unit: 1234567 is 1.23 M."""
    value, unit = float(count), ""
    for unit in ("", "k", "M", "G", "T"):
        if value < 1000 or unit == "T":
            break
        value /= 1000
    return f"{value:.3g} {unit}".strip()


def costs_page(costs: Sequence[ModuleCost], title: str, note: str, depth: int = 99) -> str:
    """The page, as HTML; modules deeper than `depth` are left out."""
    total = max(costs[0].flops, 1)
    rows = []
    for cost in costs:
        level = depth_of(cost.name)
        if level > depth:
            continue
        share = cost.flops / total
        name = escape(cost.name.rpartition(".")[2] or "model")
        numbers = (with_unit(cost.parameters), with_unit(cost.flops // 2), f"{share:.1%}", with_unit(cost.activations))
        cells = "".join(f"<td class=n>{each}</td>" for each in numbers)
        bar = f'<td class=bar><div style="width: {100 * share:.1f}%"></div></td>'
        label = f'<td style="padding-left: {1.2 * level}rem">{name} <span class=kind>{escape(cost.kind)}</span></td>'
        rows.append(f"<tr>{label}{cells}{bar}</tr>")
    names = ("parameters", "MACs", "share", "activations")
    head = "<tr><th>module</th>" + "".join(f"<th class=n>{name}</th>" for name in names) + "<th></th></tr>"
    start = '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    body = f"<h1>{escape(title)}</h1><p>{escape(note)}</p><table>{head}{''.join(rows)}</table>"
    return f"{start}<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>\n"
