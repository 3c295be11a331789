"""Assembles from the settings who is let in: part of the composition root, shared by all edges."""

import ssl

from orchestrator.edge.access.api_key_file import ApiKeyFile, read_keys
from orchestrator.edge.access.rate_limits import RateLimits
from orchestrator.edge.access.rules import AccessRules
from orchestrator.edge.access.security import (
    ANONYMOUS,
    LOCAL,
    Authenticator,
    CredentialVerifier,
    refuse_open_address,
)
from orchestrator.edge.tls.http import ServerTls, renewed_context
from orchestrator.errors import ConfigurationError
from orchestrator.settings import OidcSettings, SecuritySettings, Settings


def build_access(settings: Settings) -> AccessRules:
    """How the doors of this process are kept; its ``authenticator`` is for every edge.

    Raises ``ConfigurationError`` where the file of API keys cannot be read, or the extra ``oidc`` is missing.
    """
    security = settings.security
    authenticator = Authenticator(
        api_keys=_api_keys(security),
        tokens=_tokens(security.oidc),
        otherwise=ANONYMOUS if security.allow_unauthenticated else LOCAL,
    )
    limit = security.rate_limit
    return AccessRules(
        authenticator=authenticator,
        rate_limits=(
            None
            if limit.requests is None
            else RateLimits(limit.requests, limit.window_s, max_callers=limit.max_callers)
        ),
        protect_metrics=security.protect_metrics,
        open_on_loopback=not authenticator.asks and not security.allow_unauthenticated,
        origins=frozenset(security.cors_origins),
    )


def check_address(settings: Settings, host: str, variable: str, access: AccessRules) -> None:
    """Raise ``ConfigurationError`` where an edge would listen on ``host``, of ``variable``, to anybody."""
    refuse_open_address(
        host,
        variable,
        asks=access.authenticator.asks,
        allowed=settings.security.allow_unauthenticated,
    )


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS of the HTTP edge; None where it has none.

    Raises ``ConfigurationError`` where a file is missing or wrong.
    """
    tls = settings.security.tls
    if tls.certificate_file is None or tls.key_file is None:
        return None
    return renewed_context(
        ServerTls(tls.certificate_file, tls.key_file, tls.client_ca_file, tls.least_version)
    )


def _api_keys(security: SecuritySettings) -> CredentialVerifier | None:
    path = security.api_keys_file
    if path is None:
        return None
    try:
        read_keys(path)
    except (OSError, ConfigurationError) as error:
        why = (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"WBC_SECURITY__API_KEYS_FILE: {why}") from error
    return ApiKeyFile(path)


def _tokens(oidc: OidcSettings) -> CredentialVerifier | None:
    if oidc.issuer is None or oidc.audience is None:
        return None
    try:
        from orchestrator.edge.access.signing_keys import Issuer, SigningKeys
        from orchestrator.edge.access.tokens import TokenRules, TokenVerifier
    except ImportError as error:
        raise ConfigurationError(
            "WBC_SECURITY__OIDC__ISSUER: tokens need the extra oidc: pip install 'wbc-analyzer[oidc]'"
        ) from error
    rules = TokenRules(
        issuer=oidc.issuer,
        audience=oidc.audience,
        algorithms=oidc.algorithms,
        roles_claim=oidc.roles_claim,
        role_prefix=oidc.role_prefix,
        name_claim=oidc.name_claim,
        leeway_s=oidc.leeway_s,
    )
    issuer = Issuer(oidc.issuer, oidc.jwks_url, oidc.timeout_s)
    keys = SigningKeys(
        issuer.fetch,
        refresh_s=oidc.refresh_s,
        min_interval_s=oidc.min_interval_s,
        max_age_s=oidc.max_age_s,
    )
    return TokenVerifier(rules, keys)
