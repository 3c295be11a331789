"""What is told of the service at work: metrics, traces, the log, and the name that joins them."""
