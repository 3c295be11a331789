"""Report writers: a short text about one result, from the facts alone."""
