"""Model servers: what answers for a batch of views. One port, several implementations."""
