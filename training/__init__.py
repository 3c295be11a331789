"""Training, evaluation and export of the served model."""
