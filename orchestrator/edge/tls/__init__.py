"""Certificates and keys of both servers, from files that are renewed while they are in use."""
