"""Small tools that know nothing of blood cells, of requests or of each other."""
