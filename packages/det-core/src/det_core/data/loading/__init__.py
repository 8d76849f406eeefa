"""From a dataset to batches: settings, order, worker processes, collation."""
