# syntax=docker/dockerfile:1.7
# The model as ONNX for Triton, and `cp`: an init container puts it into a volume of the pod. Built in the folder that
# `wbc-train onnx` has written, here `onnx`; tag and VERSION are the model's version:
#   wbc-train onnx onnx
#   docker build --file docker/onnx-model.Dockerfile --build-arg VERSION=9 --tag wbc-onnx-model-copier:9 onnx
# For research use only. Not for use in diagnostic procedures.

FROM busybox:1.37.0
COPY --chmod=0755 wbc /models/wbc
COPY --chmod=0755 wbc_views /models/wbc_views
ARG VERSION=unknown
LABEL org.opencontainers.image.version="${VERSION}"
USER 10001:10001
CMD ["cp", "-r", "/models/.", "/target/"]
