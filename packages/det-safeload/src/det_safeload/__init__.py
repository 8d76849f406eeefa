"""Weight files of strangers, read within a budget and without running anything of theirs."""
