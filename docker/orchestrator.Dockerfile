# syntax=docker/dockerfile:1.7
# The service. No TensorFlow, no compiler, no pip; not root; runs on a read-only root file system with a
# writable /tmp. From the repository's root:
#   VERSION=$(make --silent version)
#   docker build --file docker/orchestrator.Dockerfile --build-arg VERSION=$VERSION --tag wbc-orchestrator:$VERSION .
# For research use only. Not for use in diagnostic procedures.

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
# Apart from the code, so that a change of code does not install the packages again.
COPY requirements/runtime.txt requirements/runtime.txt
RUN python -m venv --without-pip /opt/wbc \
    && pip --python /opt/wbc/bin/python install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        --requirement requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY orchestrator orchestrator
# The project comes from this folder and its build tool from the lock file: nothing is downloaded here.
# The build tool goes again, and the entry point of training.
RUN pip --python /opt/wbc/bin/python install --no-cache-dir --no-index --no-deps --no-build-isolation . \
    && pip --python /opt/wbc/bin/python uninstall --yes setuptools \
    && rm /opt/wbc/bin/wbc-train
# What OpenVINO brings for devices (GPU, NPU) and model formats (ONNX, …) that this service never asks for: 70 MB.
WORKDIR /opt/wbc/lib/python3.11/site-packages/openvino/libs
RUN rm --force cache.json libopenvino_intel_gpu_plugin.so libopenvino_intel_npu_plugin.so \
        libopenvino_onnx_frontend.so* libopenvino_paddle_frontend.so* libopenvino_gguf_frontend.so* \
        libopenvino_tensorflow_lite_frontend.so*

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="wbc-orchestrator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="White-blood-cell analysis. For research use only. Not for use in diagnostic procedures."
COPY --from=build /opt/wbc /opt/wbc
# For the embedded model server, and for a failover to it. Readable by everyone, whatever the umask of the clone.
COPY --chmod=0755 model_repository /models
ENV PATH=/opt/wbc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    WBC_HTTP__HOST=0.0.0.0 \
    WBC_MODEL_REPOSITORY=/models
ARG VERSION=unknown
LABEL org.opencontainers.image.version="${VERSION}"
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
# HTTP, and gRPC where WBC_GRPC__PORT=9000 says so.
EXPOSE 8000 9000
ENTRYPOINT ["python", "-m", "orchestrator"]
