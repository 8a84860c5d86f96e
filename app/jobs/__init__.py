"""Runs of all visitors on one engine: the queue, cancelling, comparisons, layer searches."""
