"""What the person who starts the page can set: command line over environment over defaults.

Reads nothing but the standard library and pydantic, so that `--help` does not wait for PyTorch.
"""

import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, CliApp, NoDecode, SettingsConfigDict

from app.paths import SETTINGS_FILE
from dola_core.errors import plain_mistake

PLACE = re.compile(r"(\[[0-9a-f:.]+]|[0-9a-z_-]+(?:\.[0-9a-z_-]+)*\.?)(?::([1-9][0-9]{0,4}))?", re.IGNORECASE)
"""A host, as a name or an address, and perhaps a port; the groups are the two."""
SUBDOMAINS = "*."
"""Before a domain, stands for every name below it."""


class Settings(BaseSettings):
    """DoLa Duet: one prompt, two decoders of one model, side by side.

    Every option can also be set in the environment as DOLA_<NAME>, for example DOLA_MODEL, or in a file settings.env
    beside app.py. The address follows Gradio's own GRADIO_SERVER_NAME and GRADIO_SERVER_PORT unless --port or --host is
    given.
    """

    model_config = SettingsConfigDict(
        env_prefix="DOLA_",
        env_file=SETTINGS_FILE,
        extra="forbid",
        frozen=True,
        cli_prog_name="app.py",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        use_attribute_docstrings=True,
        env_parse_none_str="",
    )

    model: Annotated[tuple[str, ...], NoDecode] = ()
    """smollm2, atlas-30l, a folder with a model or an adapter, a GGUF file, or a Hugging Face name; several make a
    menu, of which the first is loaded at start (default: smollm2 if it is installed, and atlas-30l)"""
    models: str = ""
    """the same as one text, with commas between the models"""
    max_loaded: int = Field(2, ge=1, le=100)
    """models that are kept in memory; the least recently used one makes room for another"""
    quantize: Literal["8bit", "4bit"] | None = None
    """keep the weights of linear layers in so few bits, by bitsandbytes"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps; split for a model over all GPUs, by accelerate"""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """number format of the weights"""
    compile: bool = False
    """compile the step of models when they are loaded, which takes a minute or two: texts then take 0.4 to 0.6 of the
    time on a CPU and a third on a GPU, one comparison runs at a time, and no model is put out of memory"""
    host: str | None = None
    """address to listen on (default: this machine only)"""
    port: int | None = Field(None, ge=1, le=65535)
    """port to listen on (default: the first free one from 7860)"""
    share: bool = False
    """also open a public gradio.live link"""
    max_new_tokens: int = Field(256, ge=1, le=4096)
    """the most tokens a visitor can ask for"""
    max_prompt_tokens: int | None = Field(None, ge=1)
    """the longest prompt a visitor can bring (default: what the model reads)"""
    time_limit: float = Field(600, gt=0, allow_inf_nan=False)
    """seconds after which a run ends with what it has"""
    max_rows: int = Field(16, ge=1, le=256)
    """texts of all visitors that are decoded together; further runs wait in the queue"""
    queue_size: int = Field(32, ge=0, le=1000)
    """runs that may wait in the queue"""
    trusted_proxies: str = ""
    """proxies that are believed where visitors come from: addresses or networks, with commas between (default: none)"""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """names by which the page may be asked for: example.org, *.example.org, or * for any; with a port, as in
    example.org:443, where visitors reach it through a proxy that hides the name (default: names of this machine if
    nobody else can reach the page, else any)"""
    mcp: bool = False
    """also offer the API as tools of the Model Context Protocol, under /gradio_api/mcp (needs requirements-mcp.txt)"""
    debug: bool = False
    """write whole tracebacks into the log, in which visitors' prompts may stand"""
    open_browser: bool = False
    """open the page in the default browser"""

    @field_validator("model", "allowed_hosts", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        names = value.split(",") if isinstance(value, str) else value or ()
        return tuple(name for each in names if (name := each.strip())) if isinstance(names, list | tuple) else value

    @field_validator("allowed_hosts")
    @classmethod
    def _can_be_hosts(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            place = PLACE.fullmatch(entry.removeprefix(SUBDOMAINS))
            if entry != "*" and not (place and int(place[2] or 1) < 65536):
                raise ValueError("name hosts as in example.org, example.org:443, [::1] or *.example.org, or * for any")
        return entries

    @property
    def names(self) -> tuple[str, ...]:
        """The models that were asked for, each once; none if the choice is left to the page."""
        named = (*self.model, *(name.strip() for name in self.models.split(",")))
        return tuple(dict.fromkeys(name for name in named if name))

    @property
    def all_rows(self) -> int:
        """The texts that are decoded at once, wherever that is."""
        return self.max_rows

    @model_validator(mode="after")
    def _can_be(self) -> "Settings":
        if self.mcp and importlib.util.find_spec("mcp") is None:
            raise ValueError("--mcp needs packages that are not here: pip install -r requirements-mcp.txt")
        if self.compile and self.device == "split":
            raise ValueError("--compile decodes on one device; leave out --device split")
        if self.quantize and self.compile:
            raise ValueError("--compile does not take packed weights; leave out --quantize")
        return self


Own = TypeVar("Own", bound=Settings)


def read_settings(
    arguments: Sequence[str],
    of: type[Own] = Settings,  # type: ignore[assignment]
    given: Mapping[str, Any] | None = None,
) -> Own:
    """Settings of a program from `arguments` (without its name), what is `given` by name, and the environment.

    Ends the program with one sentence per mistake, as a command-line tool does.
    """
    try:
        return CliApp.run(of, cli_args=list(arguments), **(given or {}))
    except ValidationError as error:
        for details in error.errors():
            mistake = plain_mistake(details)
            name = mistake.name.replace("_", "-") if given is None else mistake.name
            said = f"{name}: {mistake.message} (got {details['input']!r})" if name else mistake.message
            print(f"{of.model_config.get('cli_prog_name')}: {said}", file=sys.stderr)
        raise SystemExit(2) from None
