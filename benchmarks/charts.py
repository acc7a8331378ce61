"""A bar chart as SVG for light and dark backgrounds. Chart libraries need a script for that.

The colours have a medium brightness, so that they are visible on both backgrounds. GitHub shows an
image without the page's style, so the text has such a colour too.
"""

from xml.sax.saxutils import escape

from benchmarks.results import Chart

WIDTH, LABELS, FIGURES = 720, 250, 110
ROW, TOP = 26, 40
OURS, OTHERS, TEXT = "#2f9e6e", "#8b949e", "#7d8590"


def svg(chart: Chart) -> str:
    """The chart as text, for a file."""
    height = TOP + ROW * len(chart.bars) + 8
    longest = max(bar.value for bar in chart.bars) or 1
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" font-family="system-ui, sans-serif" '
        f'font-size="13" fill="{TEXT}">',
        f"<title>{escape(chart.title)}</title>",
        f'<text x="0" y="18" font-size="14" font-weight="600">{escape(chart.title)}</text>',
    ]
    for place, bar in enumerate(chart.bars):
        y = TOP + ROW * place
        length = max(2, round(bar.value / longest * (WIDTH - LABELS - FIGURES)))
        weight = ' font-weight="600"' if bar.ours else ""
        figure = f"{_short(bar.value)} {chart.unit}"
        parts += [
            f'<text x="{LABELS - 10}" y="{y + 14}" text-anchor="end"{weight}>'
            f"{escape(bar.label)}</text>",
            f'<rect x="{LABELS}" y="{y}" width="{length}" height="18" rx="3" '
            f'fill="{OURS if bar.ours else OTHERS}"/>',
            f'<text x="{LABELS + length + 8}" y="{y + 14}"{weight}>{escape(figure)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.2g}"
