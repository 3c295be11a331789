"""From labelled images of one microscope to a head of its profile that a person may switch on: the one way
for the command, for HTTP, for gRPC and for the page."""
