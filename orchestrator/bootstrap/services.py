"""Assembles what analyses an image, and the application over it."""

import logging
import os
from typing import Final

import cv2
from fastapi import FastAPI

from orchestrator.adaptation.kept_cells import KeptCells
from orchestrator.adaptation.service import Adaptations
from orchestrator.analyse import NoHeads, Services
from orchestrator.bootstrap.interop import site_of
from orchestrator.bootstrap.model_servers import build_model_server
from orchestrator.bootstrap.report_writers import build_report_writers
from orchestrator.bootstrap.security import build_access
from orchestrator.bootstrap.specimens import build_specimens, order_limits
from orchestrator.bootstrap.store import build_cipher
from orchestrator.common.allocator import keep_image_memory
from orchestrator.common.cores import available_cores
from orchestrator.device_audits.registry import AuditRegistry
from orchestrator.device_state import NO_AUDITS, DeviceAudits
from orchestrator.edge.access.rules import AccessRules
from orchestrator.edge.admission import Admission
from orchestrator.edge.draining import Draining
from orchestrator.edge.http_app import create_app
from orchestrator.edge.request_frame import Deadlines
from orchestrator.errors import ConfigurationError, UnknownProfile
from orchestrator.image_workers.base import ImageWorkers
from orchestrator.image_workers.processes import ImageProcesses
from orchestrator.image_workers.threads import ImageThreads
from orchestrator.model_server.base import ModelServer
from orchestrator.profiles import Profile, load_profiles
from orchestrator.report.base import ReportWriter
from orchestrator.settings import Settings
from orchestrator.site_head.registry import HeadRegistry
from orchestrator.specimens.service import Specimens
from orchestrator.store.base import Store
from orchestrator.vision.decode import DecodeLimits

_LOGGER = logging.getLogger(__name__)

MOST_PROCESSES: Final = 8
"""For images, where nobody says how many: as many as the embedded network has streams at most."""


def build_services(
    settings: Settings,
    *,
    model_server: ModelServer | None = None,
    report_writer: ReportWriter | None = None,
) -> Services:
    """Assemble what an analysis needs; nothing is started yet.

    Raises :class:`~orchestrator.errors.ConfigurationError` where a setting or a profile is wrong.
    """
    # Several requests run their OpenCV steps in threads of their own at once. OpenCV's own threads within
    # each of them would fight over the cores with these, and with the network.
    cv2.setNumThreads(1)
    keep_image_memory()
    profiles = load_profiles(settings.profiles_dir)
    if settings.profile not in profiles:
        raise ConfigurationError(
            f"WBC_PROFILE: expected one of {', '.join(profiles)}, received {settings.profile!r}"
        )
    try:
        limits = DecodeLimits(settings.images.max_bytes, settings.images.max_pixels)
        field_limits = DecodeLimits(settings.images.max_field_bytes, settings.images.max_field_pixels)
    except ValueError as error:
        raise ConfigurationError(f"WBC_IMAGES: {error}") from error
    writers = build_report_writers(settings)
    for note in writers.notes:
        _LOGGER.warning("%s", note)
    return Services(
        model_server=model_server or build_model_server(settings),
        report_writer=report_writer or writers.writer,
        profiles=profiles,
        default_profile=settings.profile,
        default_language=settings.language,
        decode_limits=limits,
        field_limits=field_limits,
        images=build_image_workers(settings),
        writers=writers.identities,
        local_writer=writers.single[-1],
        audits=audits_of(settings),
        heads=NoHeads() if settings.heads_dir is None else heads_of(settings),
    )


def audits_of(settings: Settings) -> DeviceAudits:
    """The audits of the site's microscopes; none where no folder of them is named.

    Raises :class:`~orchestrator.errors.ConfigurationError` where it is no folder.
    """
    if settings.audits_dir is None:
        return NO_AUDITS
    try:
        return AuditRegistry(settings.audits_dir, settings.embedded.precision)
    except ConfigurationError as error:
        raise ConfigurationError(f"WBC_AUDITS_DIR: {error}") from error


def heads_of(settings: Settings) -> HeadRegistry:
    """The site's own heads.

    Raises :class:`~orchestrator.errors.ConfigurationError` where no folder of them is named, or it is none.
    """
    if settings.heads_dir is None:
        raise ConfigurationError(
            "WBC_HEADS_DIR: name the folder in which the heads of this site are kept; the service reads it"
        )
    try:
        return HeadRegistry(settings.heads_dir, key_of_heads(settings))
    except ConfigurationError as error:
        raise ConfigurationError(f"WBC_HEADS_DIR: {error}") from error


def key_of_heads(settings: Settings) -> bytes | None:
    """What the site signs its heads with; None where it does not."""
    return None if settings.heads_key is None else settings.heads_key.get_secret_value().encode()


def profile_of(services: Services, name: str | None) -> Profile:
    """The profile that a command was given; the default one where None.

    Raises :class:`~orchestrator.errors.ConfigurationError` where there is no such profile.
    """
    try:
        return services.profile(name)
    except UnknownProfile as error:
        raise ConfigurationError(f"no profile {name!r}; there are {', '.join(error.known)}") from error


def build_adaptations(
    settings: Settings, services: Services, store: Store | None = None
) -> Adaptations | None:
    """What a site does with its heads; None where it keeps none. Raises as :func:`kept_cells_of`."""
    heads = services.heads
    if not isinstance(heads, HeadRegistry):
        return None
    return Adaptations(services, heads, store, kept=kept_cells_of(settings, heads))


def kept_cells_of(settings: Settings, heads: HeadRegistry) -> KeptCells | None:
    """The cells that the site's heads were learnt from; None where it has no key to keep them by.

    Raises :class:`~orchestrator.errors.ConfigurationError` where the key of the store is none.
    """
    cipher = build_cipher(settings.store)
    if cipher is None or settings.heads_dir is None:
        return None
    return KeptCells(settings.heads_dir, heads, cipher)


def build_image_workers(settings: Settings) -> ImageWorkers:
    """Where the steps on pixels run.

    Raises :class:`~orchestrator.errors.ConfigurationError` where the settings ask for what is not there.
    """
    processes = settings.images.processes
    if not hasattr(os, "memfd_create"):  # anything but Linux
        if processes:
            raise ConfigurationError("WBC_IMAGES__PROCESSES: expected 0 on this operating system")
        return ImageThreads()
    if processes is None:
        # Beside a TensorFlow Serving many small orchestrators share the work instead.
        processes = min(available_cores() // 2, MOST_PROCESSES) if settings.tf_serving.target is None else 0
    return ImageProcesses(processes) if processes else ImageThreads()


def build_admission(settings: Settings) -> Admission:
    """The places of requests under way, which all edges share."""
    places = settings.admission
    return Admission(places.max_in_flight, places.max_waiting, places.max_wait_s)


def build_app(
    settings: Settings,
    services: Services | None = None,
    draining: Draining | None = None,
    *,
    admission: Admission | None = None,
    store: Store | None = None,
    specimens: Specimens | None = None,
    access: AccessRules | None = None,
) -> FastAPI:
    """The HTTP application, for any ASGI server; ``specimens`` are those over ``store`` where not given."""
    services = services or build_services(settings)
    draining = draining or Draining()
    admission = admission or build_admission(settings)
    if specimens is None and store is not None:
        specimens = build_specimens(settings.differential, services, store, admission, draining)
    return create_app(
        services,
        admission=admission,
        deadlines=Deadlines(settings.deadline.default_s, settings.deadline.longest_s),
        draining=draining,
        access=access or build_access(settings),
        specimens=specimens,
        order_limits=order_limits(settings.differential),
        site=site_of(settings),
        audits_folder=settings.audits_dir,
        adaptations=build_adaptations(settings, services, store),
    )
