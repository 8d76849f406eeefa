"""Looking at data and at results: checks and conversions of datasets, and what errors of a model cost."""
