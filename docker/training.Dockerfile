# syntax=docker/dockerfile:1.7
# Training on a GPU: Keras on JAX for CUDA, TensorFlow for the export. From the repository's root:
#   VERSION=$(make --silent version)
#   docker build --file docker/training.Dockerfile --build-arg VERSION=$VERSION --tag wbc-training:$VERSION .
# k8s/training runs it. For research use only. Not for use in diagnostic procedures.

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
COPY requirements/training.txt requirements/training.txt
# CUDA itself comes as wheels; the node supplies nothing but the driver.
RUN python -m venv --without-pip /opt/wbc \
    && pip --python /opt/wbc/bin/python install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        --requirement requirements/training.txt
COPY pyproject.toml README.md LICENSE ./
COPY orchestrator orchestrator
COPY training training
RUN pip --python /opt/wbc/bin/python install --no-cache-dir --no-index --no-deps --no-build-isolation . \
    && pip --python /opt/wbc/bin/python uninstall --yes setuptools

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="wbc-training" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="Trains the white-blood-cell model. For research use only. Not for use in diagnostic procedures."
COPY --from=build /opt/wbc /opt/wbc
ENV PATH=/opt/wbc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    KERAS_BACKEND=jax \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib
ARG VERSION=unknown
LABEL org.opencontainers.image.version="${VERSION}"
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["wbc-train"]
CMD ["--help"]
