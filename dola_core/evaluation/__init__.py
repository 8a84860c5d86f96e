"""Any lane in evaluation harnesses: `lm_eval.py` is the model `dola` of lm-evaluation-harness."""
