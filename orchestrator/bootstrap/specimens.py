"""Assembles the work on specimens from the settings."""

import os

from orchestrator.analyse import Services
from orchestrator.edge.admission import Admission
from orchestrator.edge.draining import Draining
from orchestrator.edge.orders import OrderLimits
from orchestrator.image_workers.base import ImageWorkers
from orchestrator.image_workers.processes import ImageProcesses
from orchestrator.settings import DifferentialSettings
from orchestrator.specimens.differential import DifferentialRules, class_shares_of
from orchestrator.specimens.reference_ranges import ADULTS, load_reference_ranges
from orchestrator.specimens.runner import SpecimenRunner
from orchestrator.specimens.service import Specimens
from orchestrator.specimens.site_labels import load_labels
from orchestrator.store.base import SameCells, Store
from orchestrator.vision.same_cells import no_same_cells, same_cells


def differential_rules(settings: DifferentialSettings, services: Services) -> DifferentialRules:
    """The site's rules.

    Raises :class:`~orchestrator.errors.ConfigurationError` where its reference ranges or labels are wrong.
    """
    path = settings.reference_ranges
    labels = load_labels(settings.labels, settings.smudge)
    return DifferentialRules(
        min_cells=settings.min_cells,
        reference=ADULTS if path is None else load_reference_ranges(path, labels),
        class_shares=class_shares_of(services.profiles, settings.training_prior),
        labels=labels,
    )


def same_of(settings: DifferentialSettings) -> SameCells:
    """Which cells of a field are those of earlier ones, as far as the site wants to know."""
    return same_cells if settings.same_cells_once else no_same_cells


def order_limits(settings: DifferentialSettings) -> OrderLimits:
    """What one order over HTTP may bring."""
    return OrderLimits(
        max_files=settings.max_files,
        max_total_bytes=settings.max_total_bytes,
        upload_timeout_s=settings.upload_timeout_s,
        max_orders=settings.max_orders,
        max_stream_s=settings.max_stream_s,
    )


def build_specimens(
    settings: DifferentialSettings,
    services: Services,
    store: Store,
    admission: Admission,
    draining: Draining,
) -> Specimens:
    """The use cases over ``store``; people's requests, which ``admission`` counts, go first."""
    runner = SpecimenRunner(
        store,
        services,
        isolated=_isolated(services),
        concurrency=settings.concurrency,
        busy=lambda: admission.in_flight > 0,
        leaving=lambda: draining.begun,
        lease_s=settings.lease_s,
        same=same_of(settings),
    )
    rules = differential_rules(settings, services)
    return Specimens(store, runner, rules, services.decode_limits, services.audits, services.field_limits)


def _isolated(services: Services) -> ImageWorkers | None:
    """Where an image can end no process but its own; started when one is suspected to."""
    if isinstance(services.images, ImageProcesses) or not hasattr(os, "memfd_create"):
        return None
    return ImageProcesses(1)
