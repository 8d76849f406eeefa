"""One module per format, each over one library."""
