"""A differential as an HL7 v2.5.1 message: ``ORU^R01`` for a LIS, ``OUL^R22`` as analysers send it.

``ORU^R01`` is chapter 7.3.1 of the standard; ``OUL^R22`` follows transaction LAB-29 of IHE's profile
"Laboratory Analytical Workflow" (PaLM TF-2b), which asks for enhanced acknowledgement without a commit
(MSH-15 ``NE``, MSH-16 ``AL``) and for OBX-29, a field of later versions.

Each label gets an OBX with its LOINC code, if there is one, and, where ``detail`` is asked for, one with its
number of cells and one with its exact interval, under own codes (``99WBC``); OBX-4 tells which belong
together. With detail the last OBX says how far the microscope is known. OBX-8 is ``H``, ``L`` or empty,
never ``N``. OBX-11 is ``P`` until a person signed, then ``F``, and ``X`` where there is no value. There is no
OBX for the total white cell count: it was measured elsewhere. Comments and addenda are NTE of the OBR: a cell
has no segment of its own, and table 0123 no status of a report that was added to. What of them the character
set lacks is told by its code point: a comment that nobody can take back must not hold the result back.
"""

import base64
import hashlib
from datetime import datetime
from typing import Final, Literal

from orchestrator.interop import coding
from orchestrator.interop.coding import Code, Unit
from orchestrator.interop.hl7v2_text import (
    ENCODING_CHARACTERS,
    components,
    encoded,
    escape,
    sayable,
    segment,
    timestamp,
)
from orchestrator.interop.reporting import (
    METHOD,
    Phase,
    issued_at,
    notes,
    number,
    phase,
    profile_words,
    profiles,
    remarks,
    reported,
)
from orchestrator.interop.site import DEFAULT_SITE, NO_CONTEXT, OrderContext, Site
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.specimen import ClassCount, Differential, Range

MessageKind = Literal["oru", "oul"]

VERSION: Final = "2.5.1"
MEDIA_TYPE: Final = "application/hl7-v2+er7"
CONTROL_ID_LENGTH: Final = 20
"""Longest MSH-10 of version 2.5.1."""

PERCENT_DIGITS: Final = 2
ABSOLUTE_DIGITS: Final = 3

_TYPES: Final = {"oru": "ORU^R01^ORU_R01", "oul": "OUL^R22^OUL_R22"}
_STATUS: Final[dict[Phase, str]] = {"preliminary": "P", "final": "F", "cancelled": "X"}
_FLAGS: Final = {"high": "H", "low": "L"}
_SYSTEMS: Final = {coding.LOINC: "LN", coding.OWN: "99WBC"}
_OBX_OF_LAW: Final = 29
_METHOD: Final = components("NN-REVIEWED", METHOD, "99WBC")


def message(
    differential: Differential,
    kind: MessageKind,
    site: Site = DEFAULT_SITE,
    context: OrderContext = NO_CONTEXT,
    *,
    detail: bool = True,
) -> bytes:
    """The message in the site's character set, as it goes into a frame of MLLP.

    Its MSH-10 is made from its content: the same result has the same control id whenever and however often
    it is sent, so that a receiver knows a repetition, and another result has another one.

    Raises :class:`~orchestrator.errors.UnsayableText` where the character set lacks a character of it.
    """
    writer = _Writer(reported(differential), kind, site, context, detail)
    body = writer.segments()
    return encoded(writer.header(_control_id(kind, site, body)), body, site.character_set)


def media_type(site: Site) -> str:
    """Of a message, with its character set by the name that IANA knows."""
    part = site.character_set.removeprefix("8859/")
    return f"{MEDIA_TYPE}; charset={'utf-8' if part == 'UTF-8' else f'iso-8859-{part}'}"


def _control_id(kind: MessageKind, site: Site, body: list[str]) -> str:
    told = [kind, site.sending_application, site.sending_facility, site.processing_id, *body]
    digest = hashlib.sha256("\r".join(told).encode()).digest()
    return base64.b32encode(digest).decode()[:CONTROL_ID_LENGTH]


class _Writer:
    def __init__(
        self,
        differential: Differential,
        kind: MessageKind,
        site: Site,
        context: OrderContext,
        detail: bool,
    ) -> None:
        self._differential = differential
        self._kind = kind
        self._site = site
        self._context = context
        self._detail = detail
        self._status = _STATUS[phase(differential)]
        self._set_id = 0

    def header(self, control_id: str) -> list[str]:
        """The fields of MSH."""
        site, is_law = self._site, self._kind == "oul"
        return [
            ENCODING_CHARACTERS,
            escape(site.sending_application),
            escape(site.sending_facility),
            escape(site.receiving_application),
            escape(site.receiving_facility),
            timestamp(self._differential.computed_at),
            "",
            _TYPES[self._kind],
            control_id,
            site.processing_id,
            VERSION,
            "",
            "",
            "NE" if is_law else "",
            "AL" if is_law else "",
            *[""] * 4,
            "LAB-29^IHE" if is_law else "",
        ]

    def segments(self) -> list[str]:
        """All but MSH, in the order of the message's structure."""
        body = [line for count in self._differential.counts for line in self._results(count)]
        body += self._device()
        used = (f"{profile_words(result)}." for result in profiles(self._differential))
        said = (sayable(text, self._site.character_set) for text in remarks(self._differential))
        comments = _comments((*notes(self._differential), *used, *said))
        patient = [self._patient()] if self._context.patient else []
        if self._kind == "oru":
            return [*patient, self._common_order(), self._request(), *comments, *body, self._specimen()]
        return [*patient, self._specimen(), self._request(), self._common_order(), *comments, *body]

    def _patient(self) -> str:
        patient = self._context.patient
        if patient is None:
            raise ValueError("expected a patient")
        # PID-5 is required; "U" says that no name is told.
        name = components(patient.family, patient.given) or "^^^^^^U"
        identifier = components(patient.identifier, "", "", self._site.patient_authority)
        return segment("PID", ["1", "", identifier, "", name])

    def _specimen(self) -> str:
        drawn_at = self._context.collected_at
        fields = [""] * 17
        fields[0] = "1"
        fields[1] = components(self._differential.specimen.order.specimen_id)
        fields[3] = "BLD^Whole blood^HL70487"
        fields[10] = "P^Patient specimen^HL70369"
        fields[16] = "" if drawn_at is None else timestamp(drawn_at)
        return segment("SPM", fields)

    def _common_order(self) -> str:
        """LAW: ``OK`` for results of an order, and the status of the order; ORU: ``RE``."""
        if self._kind == "oru":
            return segment("ORC", ["RE", self._placer(), self._filler()])
        state = {"P": "IP", "F": "CM", "X": "CA"}[self._status]
        return segment("ORC", ["OK", "", "", "", state])

    def _request(self) -> str:
        differential, drawn_at = self._differential, self._context.collected_at
        signature = differential.specimen.signature
        fields = [""] * 32
        fields[0] = "1"
        # LAW's null: an analyser's result without an order that the receiver placed.
        fields[1] = self._placer() or ('""' if self._kind == "oul" else "")
        fields[2] = self._filler()
        fields[3] = _coded(coding.panel(self._site.method))
        fields[6] = "" if drawn_at is None else timestamp(drawn_at)
        fields[21] = timestamp(issued_at(differential))
        fields[23] = "HM"
        fields[24] = self._status
        if self._status == "F" and signature is not None:
            fields[31] = components(signature.person)
        return segment("OBR", fields)

    def _placer(self) -> str:
        return components(self._context.placer_order or "")

    def _filler(self) -> str:
        return components(self._differential.specimen.differential_id, self._site.sending_application)

    def _results(self, count: ClassCount) -> list[str]:
        """The OBX of one label, and the comments that belong to them."""
        method = self._site.method
        group = self._differential.counts.index(count) + 1
        share, unit = coding.share(count, method), coding.unit_of(count)
        number_of_cells = "" if self._status == "X" else str(count.count)
        if count.denominator == "none":
            return [self._observation(group, share, unit, number_of_cells)]
        lines = [
            self._observation(
                group,
                share,
                unit,
                _decimal(count.percentage, PERCENT_DIGITS),
                reference=_limits(count.reference, PERCENT_DIGITS),
                flag=_FLAGS[count.flag] if count.flag else "",
            )
        ]
        shift = self._differential.label_shift
        if shift is not None and count.label in CLASS_NAMES:
            estimate = number(100 * shift[CLASS_NAMES.index(count.label)], PERCENT_DIGITS)
            lines += _comments((f"Share estimated under label shift: {estimate} %.",))
        if self._detail:
            counted = Code(coding.OWN, f"{share.code}-count", f"{count.label}: cells counted")
            lines.append(self._observation(group, counted, coding.CELLS, number_of_cells))
            lines += self._interval(group, share, count.interval, unit, PERCENT_DIGITS)
        if self._differential.specimen.order.total_wbc is None or count.denominator != "white_cells":
            return lines
        volume = coding.absolute(count.label, method)
        value = _decimal(count.absolute, ABSOLUTE_DIGITS)
        lines.append(self._observation(group, volume, coding.PER_NANOLITRE, value))
        if self._detail:
            lines += self._interval(
                group, volume, count.absolute_interval, coding.PER_NANOLITRE, ABSOLUTE_DIGITS
            )
        return lines

    def _device(self) -> list[str]:
        """How far the microscope is known, as a coded value in a group of its own."""
        state = self._differential.specimen.device_state
        if not self._detail or state is None:
            return []
        value = "" if self._status == "X" else _coded(coding.device_state(state))
        group = len(self._differential.counts) + 1
        return [self._observation(group, coding.DEVICE_STATE, None, value, value_type="CWE")]

    def _interval(self, group: int, of: Code, limits: Range | None, unit: Unit, digits: int) -> list[str]:
        """As ``SN``, structured numeric: nothing, low, ``-``, high."""
        if limits is None:
            return []
        code = Code(coding.OWN, f"{of.code}-ci95", f"Exact 95 % confidence interval of {of.display}")
        value = f"^{number(limits.low, digits)}^-^{number(limits.high, digits)}"
        return [self._observation(group, code, unit, value, value_type="SN")]

    def _observation(
        self,
        group: int,
        code: Code,
        unit: Unit | None,
        value: str,
        *,
        reference: str = "",
        flag: str = "",
        value_type: str = "NM",
    ) -> str:
        """An OBX; without a value its status is ``X``: results cannot be obtained."""
        self._set_id += 1
        differential, drawn_at = self._differential, self._context.collected_at
        signature = differential.specimen.signature
        fields = [""] * _OBX_OF_LAW
        fields[0] = str(self._set_id)
        fields[1] = value_type
        fields[2] = _coded(code)
        fields[3] = str(group)
        fields[4] = value
        fields[5] = "" if unit is None else components(unit.code, unit.display, "UCUM")
        fields[6] = reference
        fields[7] = flag
        fields[10] = self._status if value else "X"
        fields[13] = "" if drawn_at is None else timestamp(drawn_at)
        if self._status == "F" and signature is not None:
            fields[15] = components(signature.person)
        fields[16] = _METHOD
        fields[17] = "~".join(self._equipment())
        fields[18] = timestamp(self._analysed_at())
        if self._kind == "oul":
            fields[28] = "RSLT"
        return segment("OBX", fields)

    def _equipment(self) -> list[str]:
        """The models by name and version, and the hashes of their files."""
        named: list[str] = []
        for model in self._differential.models:
            named.append(components(f"{model.name}/{model.version}", self._site.sending_application))
            if model.sha256 is not None:
                named.append(components(model.sha256, "SHA256"))
        return named

    def _analysed_at(self) -> datetime:
        cells = self._differential.specimen.cells
        moments = [cell.result.analysed_at for cell in cells if cell.result is not None]
        return max(moments, default=self._differential.specimen.created_at)


def _coded(code: Code) -> str:
    return components(code.code, code.display, _SYSTEMS[code.system])


def _decimal(value: float | None, digits: int) -> str:
    return "" if value is None else number(value, digits)


def _limits(limits: Range | None, digits: int) -> str:
    return "" if limits is None else f"{number(limits.low, digits)}-{number(limits.high, digits)}"


def _comments(sentences: tuple[str, ...]) -> list[str]:
    r"""NTE segments; ``L`` says that they come from the filler of the order. Their text is formatted (FT):
    ``\.br\`` begins a line."""
    texts = ("\\.br\\".join(map(escape, text.split("\n"))) for text in sentences)
    return [segment("NTE", [str(i), "L", text]) for i, text in enumerate(texts, start=1)]
