"""Claude: critic and writer by structured output, with the offline ones to fall back to."""
