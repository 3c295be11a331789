import inspect

import pytest

from orchestrator import settings
from orchestrator.edge.access.rate_limits import RateLimits
from orchestrator.edge.access.tokens import TokenRules
from orchestrator.edge.admission import Admission
from orchestrator.edge.grpc.server import GrpcOptions
from orchestrator.edge.orders import OrderLimits
from orchestrator.edge.request_frame import Deadlines
from orchestrator.model_server.embedded import EmbeddedModelServer
from orchestrator.model_server.remote import RemoteOptions
from orchestrator.model_server.shadow import ShadowModelServer
from orchestrator.vision.decode import DecodeLimits

OTHER_THAN_THE_SETTING = {
    (GrpcOptions, "port"),  # any that is free; no edge at all where the setting is none
    (GrpcOptions, "max_message_bytes"),  # follows from the largest image
    (GrpcOptions, "tls"),
    (RemoteOptions, "tls"),
}


@pytest.mark.parametrize(
    ("section", "built"),
    [
        (settings.AdmissionSettings, Admission),
        (settings.DeadlineSettings, Deadlines),
        (settings.DifferentialSettings, OrderLimits),
        (settings.EmbeddedSettings, EmbeddedModelServer),
        (settings.GrpcSettings, GrpcOptions),
        (settings.ImageSettings, DecodeLimits),
        (settings.OidcSettings, TokenRules),
        (settings.RateLimitSettings, RateLimits),
        (settings.ShadowSettings, ShadowModelServer),
        (settings.TfServingSettings, RemoteOptions),
    ],
)
def test_what_is_built_without_settings_is_as_by_the_defaults_of_settings(section, built):
    parameters = inspect.signature(built).parameters
    told = {
        name: (parameter.default, section.model_fields[name].get_default(call_default_factory=True))
        for name, parameter in parameters.items()
        if name in section.model_fields
        and parameter.default is not inspect.Parameter.empty
        and (built, name) not in OTHER_THAN_THE_SETTING
    }
    assert told
    assert all(mine == setting for mine, setting in told.values()), told
