"""Files that somebody named: JSON, checked. Regular files and budgets are those of det_safeload."""
