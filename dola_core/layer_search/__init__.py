"""Choose j* and α on questions with known answers: `python -m dola_core.layer_search`."""
