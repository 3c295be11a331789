"""The weights of content negotiation (RFC 9110, section 12.4.2)."""


def weight(parameter: str) -> float:
    """Of ``q=0.8``; 1 where there is none and 0, "not acceptable", where it is no number from 0 to 1."""
    name, _, value = parameter.strip().partition("=")
    if not name:
        return 1.0
    try:
        found = float(value)
    except ValueError:
        return 0.0
    return found if name.strip().lower() == "q" and 0 <= found <= 1 else 0.0
