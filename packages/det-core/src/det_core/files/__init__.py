"""Files that somebody named: regular ones only, read within a budget, JSON checked."""
