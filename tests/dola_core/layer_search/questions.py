"""Questions and files of questions that the tests of the layer search share."""

from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.search_config import SearchConfig

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

TRUTHFUL = (
    "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"
    'Adversarial,Myths,"What happens if you\nswallow gum?",Nothing,It passes through you; Nothing;,'
    '"It stays for seven years; It grows.; ",x\n'
)
FACTOR = (
    ",full_prefix,doc_id,completion,contradiction_0,contradiction_1,contradiction_2,longest_completions,"
    "turncated_prefixes\n"
    '0,"A long, long text. It",7,is true.,is false.,is odd.,is even.,9,It\n'
)
HEADER, ROW = (
    "Question,Best Answer,Correct Answers,Incorrect Answers",
    "What is gold?,A metal,A metal; An element,A gas",
)
INVALID = [
    ("x.jsonl", '{"prompt": "a", "answers": ["b"]}\n{', "x.jsonl, line 2: it is not JSON; write each question as one"),
    ("x.jsonl", '{\n"prompt": "a",\n"answers": ["b"]}', "x.jsonl, line 1: it is not JSON; write each question as one"),
    ("x.jsonl", '{"prompt": "a", "answers": []}', "x.jsonl, line 1: answers is empty"),
    ("x.jsonl", '{"prompt": "a", "answers": "b"}', "x.jsonl, line 1: answers is not of its type"),
    ("x.jsonl", '{"prompt": "a"}', "x.jsonl, line 1: the field answers is missing"),
    ("x.jsonl", '{"prompt": "a", "answers": ["b"]}\n[1]', "x.jsonl, line 2: it is not a JSON object"),
    ("x.json", '[{"prompt": "a", "answers": ["b"]}]', "x.json, line 1: it is not a JSON object"),
    ("x.jsonl", '\n{"prompt": "a", "answers": ["b"], "x": 1}', "x.jsonl, line 2: there is no field x"),
    ("x.jsonl", '{"prompt": "a", "answers": ["b"], "answers": ["c"]}', "line 1: the field answers is there twice"),
    ("x.jsonl", '{"prompt": " ", "answers": ["b"]}', "x.jsonl, line 1: prompt"),
    ("x.jsonl", '{"prompt": "a", "answers": ["."]}', "x.jsonl, line 1: answers.0"),
    ("x.jsonl", '{"prompt": "a", "answers": ["b"], "image": " "}', "x.jsonl, line 1: image is empty"),
    ("x.jsonl", '{"prompt": "a", "answers": ["b"], "image": 1}', "x.jsonl, line 1: image is not of its type"),
    ("x.jsonl", '{"text": "a", "label": "yes"}\n{"text": "a"}', "x.jsonl, line 2: the field label is missing"),
    ("x.jsonl", '{"label": "yes"}', "x.jsonl, line 1: the field text is missing"),
    ("x.jsonl", '{"text": "a", "label": "maybe"}', "line 1: label must be yes or no; a question with other answers"),
    ("x.jsonl", '{"question": "a", "answer": true}', "x.jsonl, line 1: answer must be yes or no"),
    ("x.jsonl", '{"question": " ", "answer": "no"}', "x.jsonl, line 1: question is empty"),
    ("x.jsonl", '{"question": [1], "answer": "no"}', "x.jsonl, line 1: question is not of its type"),
    ("x.jsonl", '{"text": "a", "question": "b", "label": "no"}', "the field text / question is there twice"),
    ("x.jsonl", '{"text": "a", "label": "no", "label": "no"}', "the field label is there twice"),
    ("x.jsonl", '{"text": "a", "label": "no"}\n[1]', "x.jsonl, line 2: it is not a JSON object"),
    ("x.csv", "a,b\n1,2\n", "x.csv, line 1: neither JSON Lines nor a CSV"),
    (
        "x.csv",
        "Question:Best Answer\n",
        "x.csv, line 1: neither JSON Lines nor a CSV .by comma, semicolon, tab or",
    ),
    ("x.csv", "", "x.csv is empty; choose a file that holds questions."),
    ("x.csv", "\ufeff", "x.csv is empty"),
    ("x.jsonl", " \n\t\r\n", "x.jsonl is empty"),
    ("x.csv", ",,,\n,,,\n", "x.csv is empty"),
    ("x.csv", "Question,Best Answer,Correct Answers\n", "line 1: the column “Incorrect Answers” is missing"),
    (
        "x.csv",
        "\nQuestion;Best Answer\n",
        "x.csv, line 2: the column “Correct Answers” is missing; it has Question, Best",
    ),
    ("x.csv", f"{HEADER},Question\n{ROW},x\n", "x.csv, line 1: the column “Question” is there twice; leave one out"),
    ("x.csv", f"Category,{HEADER},Category\n", "x.csv, line 1: the column “Category” is there twice"),
    ("x.csv", FACTOR.replace("doc_id", "completion"), "x.csv, line 1: the column “completion” is there twice"),
    ("x.csv", TRUTHFUL.replace("Nothing,It", ",It"), "x.csv, line 2 .row 2., column “Best Answer”: it is empty"),
    ("x.csv", TRUTHFUL + TRUTHFUL.partition("\n")[2].replace("gum?", ""), None),
    ("x.csv", f"{TRUTHFUL}a,b\n", "x.csv, line 4 .row 3.: it has 2 cells where the header has 7"),
    ("x.csv", f"{HEADER}\n{ROW}\nWhat, really?,b,c,\n", "line 3 .row 3.: it has 5 cells where the header has 4"),
    ("x.csv", f"{HEADER}\n,,,\n{ROW}, \n", "line 3 .row 3.: it has 5 cells where the header has 4"),
    ("x.csv", f"{HEADER},,\nWhat, really?,b,c,d,\n", "line 2 .row 2.: it has 5 cells where the header has 4"),
    ("x.csv", f"sep=,\n{HEADER}\na\n", "line 3 .row 2.: it has 1 cells where the header has 4"),
    ("x.csv", TRUTHFUL.splitlines(keepends=True)[0], "x.csv holds no questions below its header."),
    ("x.csv", f"{HEADER}\n,,,\n", "x.csv holds no questions below its header."),
    ("x.csv", FACTOR.replace("is odd.", " "), "x.csv, line 2 .row 2., column “contradiction_1”: it is empty"),
    ("x.csv", FACTOR.replace("contradiction_2", "other"), "line 1: the column “contradiction_2” is missing"),
    ("x.csv", f"{'x' * 200_000}\n1\n", "x.csv, line 1: neither"),
    ("x.csv", TRUTHFUL.replace("Nothing,It passes through you; Nothing;", ";,; ;"), "“Best Answer”: it is empty"),
    ("x.csv", FACTOR.replace("is true.", "."), "x.csv, line 2 .row 2., column “completion”: it is empty"),
    ("x.csv", f'{FACTOR}1,"an open quote\n', "x.csv, line 3 .row 3.: a field in quotes"),
    ("x.csv", f'{HEADER}\n"a\nb" c,d,e,f\n', "x.csv, line 2 .row 2.: a field in quotes"),
    ("x.csv", f'"{HEADER}\n{ROW}\n', "x.csv, line 1: neither"),
]
"""(name, text, sentence or None if the file is valid)"""
