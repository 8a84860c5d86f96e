"""What the person who starts the page on Ray can set beside what `app.py` takes."""

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from app.settings import Settings

SPARE = 4
NOT_HERE = ("host", "port", "share", "open_browser", "max_loaded")
"""Settings of `app.py` that mean nothing on Ray."""


class RaySettings(Settings):
    """The page on Ray Serve.

    Every setting is taken from the environment as DOLA_<NAME>, or from behind `serve run app.ray_app:page` as
    name=value; those that `app.py` has as well, from settings.env, too.
    """

    model_config = SettingsConfigDict(cli_prog_name="app.ray_app")

    replicas: int = Field(1, ge=0, le=1000)
    """processes for each model; with max_replicas the fewest, and 0 loads a model when it is first asked for"""
    max_replicas: int | None = Field(None, ge=1, le=1000)
    """the most processes for each model, started as visitors come and ended as they go (default: always as many)"""
    replica_cpus: float = Field(2, ge=0)
    """processors that Ray keeps for each process"""
    replica_gpus: float = Field(0, ge=0)
    """GPUs that Ray keeps for each process; a part of one, such as 0.5, lets two share it"""

    @property
    def most_replicas(self) -> int:
        """The most processes of a model that there can be."""
        return max(self.replicas, self.max_replicas or 1)

    @property
    def most_runs(self) -> int:
        """The most runs that one process takes: each has two rows or more, unless it is alone."""
        return max(2, self.max_rows // 2)

    @property
    def most_requests(self) -> int:
        """The most requests that one process takes: those runs, and questions for the facts of its model."""
        return self.most_runs + SPARE

    @property
    def all_rows(self) -> int:
        """The rows of all processes of a model."""
        return self.max_rows * self.most_replicas

    @model_validator(mode="after")
    def _can_be_run(self) -> "RaySettings":
        if left := [name for name in NOT_HERE if name in self.model_fields_set]:
            raise ValueError(f"leave out {', '.join(left)}: Ray has the address, and replicas the models")
        if self.max_replicas is None and not self.replicas:
            raise ValueError("replicas=0 needs max_replicas, the most that are started as visitors come")
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError("max_replicas is less than replicas")
        return self
