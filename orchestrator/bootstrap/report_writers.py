"""Composes the report writers from the settings: the only place that names the packages of providers."""

import hashlib
import importlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from orchestrator.domain import WriterIdentity
from orchestrator.errors import ConfigurationError
from orchestrator.report.base import ReportWriter
from orchestrator.report.caching_writer import CachingWriter
from orchestrator.report.fallback_writer import FallbackWriter, Provider
from orchestrator.report.model_names import GEMINI_DEFAULT, GITHUB_MODELS, end_of
from orchestrator.report.observed_writer import ObservedWriter
from orchestrator.report.rule_based_writer import RuleBasedWriter
from orchestrator.settings import Settings, WriterSettings

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReportWriters:
    """``writer`` writes the service's reports; ``single`` are the same writers one by one, the rule-based one
    last, for whoever wants to know what each is worth; ``identities`` are who they are; ``notes`` is what
    whoever runs the service should know of their models."""

    writer: ReportWriter
    single: tuple[ReportWriter, ...]
    identities: tuple[WriterIdentity, ...]
    notes: tuple[str, ...] = ()


def build_report_writers(settings: Settings) -> ReportWriters:
    """Without a language model in the settings, the rule-based writer alone, and no provider's package.

    Raises :class:`~orchestrator.errors.ConfigurationError` where the extra ``writers`` is missing, or a file
    with a key.
    """
    rules = ObservedWriter(RuleBasedWriter())
    at_home = WriterIdentity(rules.name, None, None)
    chosen, notes = _chosen(settings)
    try:
        models = [_language_model_writer(writer) for writer in chosen]
    except ConfigurationError as error:
        if settings.writers.order is not None:
            raise
        # The key may stand in the environment for something else: no reason not to start.
        notes += (f"rules write all reports: {error}",)
        models, chosen = [], ()
    today = datetime.now(UTC).date()
    hosts = [urlsplit(_base_url(one)).hostname for one in chosen]
    ends = [end_of(one.model, host) for one, host in zip(chosen, hosts, strict=True)]
    notes += tuple(end.told(today) for end in ends if end is not None)
    if not models:
        return ReportWriters(rules, (rules,), (at_home,), notes)
    limits = settings.writers
    writer: ReportWriter = FallbackWriter(
        [
            Provider(model, one.timeout_s, breaker_open_s=limits.breaker_open_s)
            for model, one in zip(models, chosen, strict=True)
        ],
        rules,
        deadline_s=limits.deadline_s,
        reserve_s=limits.reserve_s,
        skip_s=limits.skip_s,
        max_concurrent=limits.max_concurrent,
    )
    if limits.cache_entries:
        writer = CachingWriter(
            writer, _fingerprint(chosen), max_entries=limits.cache_entries, ttl_s=limits.cache_ttl_s
        )
    identities = tuple(
        WriterIdentity(one.label, one.model, host) for one, host in zip(chosen, hosts, strict=True)
    )
    _LOGGER.info(
        "the facts of each result go to %s; no image and no identifier does",
        ", then ".join(f"{identity.name} at {identity.sends_to}" for identity in identities),
    )
    return ReportWriters(writer, (*models, rules), (*identities, at_home), notes)


def _chosen(settings: Settings) -> tuple[tuple[WriterSettings, ...], tuple[str, ...]]:
    """The language models, and what should be known of keys that open none."""
    own_key = settings.gemini_api_key if _is_set(settings.gemini_api_key) else None
    if settings.writers.order is not None:
        return tuple(_with_key(one, own_key) for one in settings.writers.order), ()
    notes = (GITHUB_MODELS.told(datetime.now(UTC).date()),) if _is_set(settings.github_token) else ()
    if own_key is None:
        return (), notes
    if GEMINI_DEFAULT is None:
        return (), (
            *notes,
            "GEMINI_API_KEY: no model's name is known to live; name one in WBC_WRITERS__ORDER",
        )
    return (WriterSettings(provider="gemini", model=GEMINI_DEFAULT, api_key=own_key),), notes


def _with_key(one: WriterSettings, own_key: SecretStr | None) -> WriterSettings:
    if one.provider != "gemini" or one.api_key is not None or one.api_key_file is not None:
        return one
    if own_key is None:
        raise ConfigurationError(
            f"WBC_WRITERS__ORDER: {one.label} has no key; set GEMINI_API_KEY, or its api_key_file or api_key"
        )
    return one.model_copy(update={"api_key": own_key})


def _is_set(key: SecretStr | None) -> bool:
    return key is not None and bool(key.get_secret_value())


def _language_model_writer(settings: WriterSettings) -> ObservedWriter:
    from orchestrator.report.language_model import Manner, ModelOptions
    from orchestrator.report.language_model_writer import LanguageModelWriter, Prices

    module = _provider_module(settings.provider)
    options = ModelOptions(
        model=settings.model,
        base_url=_base_url(settings),
        api_key=_key(settings),
        timeout_s=settings.timeout_s,
        temperature=settings.temperature,
        reasoning_effort=settings.reasoning_effort,
        thinking_budget=settings.thinking_budget,
        manner=Manner(
            json_by="schema" if settings.structured_output else "words",
            token_limit_field=settings.token_limit_field,
            max_output_tokens=settings.max_output_tokens,
        ),
    )
    model = module.OpenAiModel(options) if settings.provider == "openai" else module.GeminiModel(options)
    prices = Prices(settings.prompt_price, settings.completion_price)
    return ObservedWriter(LanguageModelWriter(settings.label, model, prices))


def _provider_module(provider: str) -> Any:
    """Imported only where it is wanted: each package costs a second or two and 40 to 65 MB."""
    try:
        return importlib.import_module(f"orchestrator.report.{provider}_model")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"WBC_WRITERS: {error.name} is missing, which the writer {provider!r} needs. Install the extra "
            "`writers`; or set WBC_WRITERS__ORDER=[] to have rules write all reports."
        ) from error


def _base_url(settings: WriterSettings) -> str:
    if settings.base_url is not None:
        return settings.base_url
    return str(_provider_module(settings.provider).DEFAULT_BASE_URL)


def _key(settings: WriterSettings) -> str:
    if settings.api_key_file is None:
        return settings.api_key.get_secret_value() if settings.api_key else ""
    try:
        return settings.api_key_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"WBC_WRITERS: the file with the key of {settings.label} cannot be read"
        ) from error


def _fingerprint(chosen: tuple[WriterSettings, ...]) -> str:
    """Of all settings but the keys."""
    shown = "".join(one.model_dump_json(exclude={"api_key", "api_key_file"}) for one in chosen)
    return hashlib.sha256(shown.encode()).hexdigest()
