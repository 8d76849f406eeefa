"""Export of det models to the files of other runtimes; each file is checked against the model it was exported from."""
