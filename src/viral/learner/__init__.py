"""The mathematics of learning: effects, prediction, update, evaluation."""
