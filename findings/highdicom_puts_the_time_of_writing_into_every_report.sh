#!/usr/bin/env bash
# Surprise: highdicom adds itself as contributing equipment to every object that it makes, with the moment at which it
#   was made (ContributionDateTime), beside InstanceCreationTime and ContentTime. Same content, same UIDs: other bytes.
# Good guess: the constructor's arguments are all that stands in a structured report; who sets the two times that the
#   documentation names gets the same object again, so that a second sending is known as a repetition.
# Date: 2026-11-29
# Hurts: who derives a UID from the object's bytes, compares what an archive has with what would be sent, or keeps
#   golden files.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.3.5 pydicom==3.0.2 highdicom==0.28.2
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import time
from importlib.metadata import version

from highdicom.sr import (
    ComprehensiveSR, DeviceObserverIdentifyingAttributes, MeasurementReport, MeasurementsAndQualitativeEvaluations,
    ObservationContext, ObserverContext, TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

for package in ("pydicom", "highdicom"):
    print(package, version(package))
source = Dataset()
source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID = "2.25.1", "2.25.2", "2.25.3"
source.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
                "AccessionNumber", "ReferringPhysicianName", "StudyID"):
    setattr(source, keyword, "")


def report():
    device = ObserverContext(codes.DCM.Device, DeviceObserverIdentifyingAttributes(uid="2.25.9", name="analyser"))
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=device),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[MeasurementsAndQualitativeEvaluations(TrackingIdentifier("2.25.8", "cell"))],
    )
    made = ComprehensiveSR(
        evidence=[source], content=content[0], series_instance_uid="2.25.4", series_number=1,
        sop_instance_uid="2.25.5", instance_number=1, manufacturer="laboratory", is_complete=False,
    )
    made.InstanceCreationDate = made.ContentDate = "20260302"
    made.InstanceCreationTime = made.ContentTime = "094112"
    return made


def differing(one, other, place=""):
    for element in one:
        twin = other.get(element.tag)
        if element.VR == "SQ":
            for number, (part, its_twin) in enumerate(zip(element.value, twin.value, strict=True)):
                yield from differing(part, its_twin, f"{place}{element.keyword}[{number}].")
        elif element.value != twin.value:
            yield place + element.keyword


first = report()
time.sleep(1.1)
second = report()
found = list(differing(first, second))
print("both times set, and yet different:", found)
assert found == ["ContributingEquipmentSequence[0].ContributionDateTime"], found
assert "highdicom" in str(first.ContributingEquipmentSequence[0]).lower()
PYTHON
echo "seen as described"
