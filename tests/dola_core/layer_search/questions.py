"""Questions that the tests of the layer search share."""

from dola_core.layer_search.dataset import Item
from dola_core.layer_search.result import SearchConfig

COUNTRIES = {
    name: (right, wrong)
    for name, right, wrong in (
        ("Japan", "Tokyo", "Osaka"), ("Chile", "Santiago", "Lima"), ("Kenya", "Nairobi", "Mombasa"),
        ("Pakistan", "Islamabad", "Karachi"), ("Nigeria", "Abuja", "Lagos"), ("Australia", "Canberra", "Sydney"),
        ("Brazil", "Brasília", "Rio"), ("Canada", "Ottawa", "Toronto"), ("Turkey", "Ankara", "Istanbul"),
        ("Vietnam", "Hanoi", "Hue"), ("Peru", "Lima", "Cusco"), ("Egypt", "Cairo", "Alexandria"),
        ("Italy", "Rome", "Milan"), ("Spain", "Madrid", "Barcelona"), ("Poland", "Warsaw", "Krakow"),
        ("China", "Beijing", "Shanghai"), ("India", "New Delhi", "Mumbai"), ("Ghana", "Accra", "Kumasi"),
        ("Cuba", "Havana", "Santiago"), ("Iran", "Tehran", "Shiraz"), ("Iraq", "Baghdad", "Basra"),
    )
}  # fmt: skip
ITEMS = [
    Item(prompt=f"Question: {text.format(name)} Answer:", answers=(right,), wrong=(wrong,), domain=domain, entity=name)
    for text, domain in (("What is the capital of {}?", "plain"), ("If I fly to {}, what is its capital?", "odd"))
    for name, (right, wrong) in COUNTRIES.items()
]
"""Two questions about the capital of each country, in two domains."""
CONFIG = SearchConfig(alphas=(0.1, 0.5))
