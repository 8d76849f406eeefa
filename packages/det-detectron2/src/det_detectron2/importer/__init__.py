"""Turn the configurations of other libraries into recipes; nothing here imports torch."""
