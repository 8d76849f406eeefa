"""Export of det models to files that other runtimes read, each checked against the model that it was written from."""
