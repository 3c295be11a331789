# syntax=docker/dockerfile:1.7
# The model alone, as an image: versioned, signed and pulled like every other one. From the repository's root:
#   docker build --file docker/model.Dockerfile --target artifact --build-arg VERSION=9 --tag wbc-model:9 .
#   docker build --file docker/model.Dockerfile --target copier   --build-arg VERSION=9 --tag wbc-model-copier:9 .
# Tag and VERSION are the model's version. For research use only. Not for use in diagnostic procedures.

# For clusters that mount images as volumes: files and nothing that could run.
# Readable by everyone, whatever the umask of the clone.
FROM scratch AS artifact
ARG VERSION=unknown
LABEL org.opencontainers.image.version="${VERSION}"
COPY --chmod=0755 model_repository/wbc /wbc

# For those that cannot: an init container that copies the files into a volume of the pod.
FROM busybox:1.37.0 AS copier
COPY --chmod=0755 model_repository/wbc /models/wbc
ARG VERSION=unknown
LABEL org.opencontainers.image.version="${VERSION}"
USER 10001:10001
CMD ["cp", "-r", "/models/.", "/target/"]
