"""What comes in beside the controls: trace files, question files, recorded traces, example prompts."""
