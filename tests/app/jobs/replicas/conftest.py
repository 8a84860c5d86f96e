"""Ray Serve is imported here first: its own settings use what pydantic calls outdated, which is nobody's fault here."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ray.serve  # noqa: F401
