"""What is in a dataset, what is wrong with it, and the same in another format."""
