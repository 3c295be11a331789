"""What the service tells of its model, its profiles and its writers, and what its probes answer."""

from typing import Literal, Self

from pydantic import Field

from orchestrator import __version__
from orchestrator.analyse import Services
from orchestrator.documents.fields import Document, Model
from orchestrator.domain import DISCLAIMER, MefVersion, ModelIdentity, RoutingMode, WriterIdentity
from orchestrator.model_contract import CLASS_NAMES, IMAGE_SIZE, SIGNATURES
from orchestrator.profiles import Profile, ProfiledDevice
from orchestrator.vision.tta import TtaMode


class ProfileDescription(Document):
    """A device profile: how images of one device are prepared and decided on."""

    name: str = Field(examples=["default"])
    description: str
    default: bool = Field(description="Whether requests that name no profile get this one.")
    device: ProfiledDevice = Field(
        examples=["known"],
        description="What is known of the device before any audit; see `device_state` of results.",
    )
    preprocessing: MefVersion
    crop_scale: float | None = Field(description="Side of the crop in cell sizes; null for the whole frame.")
    reinhard: bool = Field(description="Whether colours are normalised after Reinhard.")
    tta: TtaMode
    adaptive_margin: float = Field(
        examples=[0.33], description="Margin from which on `adaptive` is content with the first view."
    )
    routing: RoutingMode
    temperature: float
    review_threshold: float
    review_margin: float
    max_energy: float | None = Field(
        examples=[-4.0], description="Energy from which on a result is marked for review; null for never."
    )
    max_not_wbc: float = Field(
        examples=[0.5], description="`not_wbc` from which on a result is marked for review."
    )
    prior: list[float] | None = Field(
        examples=[None], description="Shares of the classes that routing `prior` weighs by; null without it."
    )
    training_prior: list[float] | None = Field(
        examples=[None], description="Shares of the classes in training; null without routing `prior`."
    )
    um_per_px: float | None = Field(
        examples=[0.1], description="Micrometres per pixel of its images; null where nobody has said."
    )

    @classmethod
    def of(cls, profile: Profile, *, default: bool) -> Self:
        recipe, routing = profile.recipe, profile.routing
        return cls(
            name=profile.name,
            description=profile.description,
            default=default,
            device=profile.device,
            preprocessing=recipe.mef_version,
            crop_scale=recipe.crop_scale,
            reinhard=recipe.reinhard is not None,
            tta=profile.tta,
            adaptive_margin=profile.adaptive_margin,
            routing=routing.mode,
            temperature=routing.temperature,
            review_threshold=routing.review_threshold,
            review_margin=routing.review_margin,
            max_energy=routing.max_energy,
            max_not_wbc=routing.max_not_wbc,
            prior=None if routing.prior is None else list(routing.prior),
            training_prior=None if routing.training_prior is None else list(routing.training_prior),
            um_per_px=profile.um_per_px,
        )


class WriterDescription(Document):
    """A writer of reports."""

    name: str = Field(examples=["rule-based"])
    model: str | None = Field(examples=[None], description="That it asks; null for rules.")
    leaves: bool = Field(
        description="Whether the facts of a result leave this process for it: class, percentages, regions, "
        "reasons for a review; never an image, a file name or an identifier."
    )
    sends_to: str | None = Field(examples=[None], description="The host that they go to.")

    @classmethod
    def of(cls, writer: WriterIdentity) -> Self:
        return cls(
            name=writer.name, model=writer.model, leaves=writer.sends_to is not None, sends_to=writer.sends_to
        )


class ModelDescription(Document):
    """The answer of ``GET /v1/model``."""

    model: Model
    class_names: list[str] = Field(examples=[list(CLASS_NAMES)])
    input_size: int = Field(examples=[IMAGE_SIZE], description="Side in pixels of what the model sees.")
    signatures: dict[str, list[str]] = Field(
        examples=[{"classify": ["main_out", "aux_binary_out", "logits"]}],
        description="Their outputs, by name.",
    )
    profiles: list[ProfileDescription]
    report_writers: list[WriterDescription] = Field(description="In the order in which they are asked.")
    service_version: str = Field(
        examples=[__version__], description="Of the service; models have versions of their own."
    )
    disclaimer: str = DISCLAIMER

    @classmethod
    def of(cls, identity: ModelIdentity, services: Services) -> Self:
        return cls(
            model=Model.model_validate(identity),
            class_names=list(CLASS_NAMES),
            input_size=IMAGE_SIZE,
            signatures={
                name: [tensor.name for tensor in signature.outputs] for name, signature in SIGNATURES.items()
            },
            profiles=[
                ProfileDescription.of(profile, default=name == services.default_profile)
                for name, profile in services.profiles.items()
            ],
            report_writers=[WriterDescription.of(writer) for writer in services.writers],
            service_version=__version__,
        )


class Health(Document):
    """The answer of the probes."""

    status: Literal["live", "ready"]
    disclaimer: str = DISCLAIMER
