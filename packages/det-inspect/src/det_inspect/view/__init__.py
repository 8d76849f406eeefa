"""`det view`: pictures, predictions and runs in a browser."""
