"""The address of a visitor, for what stands before the page."""

from app.jobs.visitor import address_of, grouped

__all__ = ["address_of", "grouped"]
