"""The page's colours in light and in dark, for style sheet, theme and charts.

Each lane has a colour by its place: blue the first, by default the baseline, and vermilion the second, by default DoLa;
green and purple are for lanes that are added. Everything else is grey.
"""

SIDES = ("base", "dola", "third", "fourth")
"""What the lanes' colours are called, in the order of the lanes."""

LIGHT = {
    "paper": "#fbfaf8",
    "card": "#ffffff",
    "ink": "#1d2129",
    "mute": "#5f6672",
    "line": "#e6e3dd",
    "base": "#0072b2",
    "base-soft": "#0072b21a",
    "dola": "#b8490b",
    "dola-soft": "#d55e001f",
    "third": "#00745a",
    "third-soft": "#009e731f",
    "fourth": "#8a3f83",
    "fourth-soft": "#aa4fa31f",
    "early": "#8a8f99",
}
DARK = {
    "paper": "#0f1216",
    "card": "#171b21",
    "ink": "#e8eaee",
    "mute": "#9aa3b0",
    "line": "#2a3038",
    "base": "#5ab4f0",
    "base-soft": "#5ab4f029",
    "dola": "#ff9a4d",
    "dola-soft": "#ff9a4d2b",
    "third": "#41cfa3",
    "third-soft": "#41cfa329",
    "fourth": "#e293d8",
    "fourth-soft": "#e293d829",
    "early": "#7b8491",
}

# Cividis with its light end replaced by the paper's colour and, in the dark, its dark end by the card's, so that low
# values recede into the background.
SCALE = ("#fbfaf7", "#d9cfa6", "#a59c74", "#7d7c78", "#575d6d", "#31446b", "#00224e")
DARK_SCALE = ("#171b22", "#26395c", "#4a566c", "#717170", "#a59c75", "#d6c25a", "#fee838")

TO_DARK = {LIGHT[name]: DARK[name] for name in LIGHT} | dict(zip(SCALE, DARK_SCALE, strict=True))
"""{light colour: dark colour}; charts arrive in light colours, and the browser replaces them when the page is dark."""


def css_variables() -> str:
    """The palette as CSS custom properties, `--duet-<name>`."""
    light, dark = ("".join(f"--duet-{name}:{value};" for name, value in p.items()) for p in (LIGHT, DARK))
    return f":root{{{light}}}\n.dark{{{dark}}}\n"
