"""Untrusted weight files, read within a budget and without running any code of theirs."""
