"""What a person sees in a browser: the page (``static/``) and the documentation. Nothing is loaded from
elsewhere."""
