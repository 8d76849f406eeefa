"""Why metrics are as they are: TIDE error types, sanity checks, and a report of both."""
