"""The page's colours, once for light and once for dark; CSS, theme and charts all take them from here.

Two voices, baseline blue and DoLa vermilion, used for nothing else; everything else is grey.
"""

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
    "early": "#7b8491",
}

# Cividis, its light end made the paper and, in the dark, its dark end made the card: what matters less is calm.
SCALE = ("#fbfaf7", "#d9cfa6", "#a59c74", "#7d7c78", "#575d6d", "#31446b", "#00224e")
DARK_SCALE = ("#171b22", "#26395c", "#4a566c", "#717170", "#a59c75", "#d6c25a", "#fee838")

TO_DARK = {LIGHT[name]: DARK[name] for name in LIGHT} | dict(zip(SCALE, DARK_SCALE, strict=True))
"""Charts are drawn in light colours; the browser replaces them by these when the page is dark."""


def css_variables() -> str:
    """The palette as CSS custom properties, `--duet-<name>`."""
    light, dark = ("".join(f"--duet-{name}:{value};" for name, value in p.items()) for p in (LIGHT, DARK))
    return f":root{{{light}}}\n.dark{{{dark}}}\n"
