# syntax=docker/dockerfile:1.7
# TensorFlow Serving with code for newer GPUs: 8.0 (A100), 8.9 (L4), 9.0 (H100, H200) and 10.0 (B200). Hours of a large machine, from
# the repository's root:
#   docker build --file docker/tf-serving-hopper.Dockerfile --build-arg VERSION=$VERSION --tag wbc-tf-serving-hopper:$VERSION .
# Then name it in the overlay under `images:`, for tensorflow/serving. Not built here: there was no container engine. What it
# rests on: TensorFlow's hermetic CUDA (docs/hermetic_cuda in its repository: HERMETIC_CUDA_VERSION, HERMETIC_CUDNN_VERSION,
# HERMETIC_CUDA_COMPUTE_CAPABILITIES), of which TensorFlow Serving's own build takes the same names; 10.0 needs CUDA 12.8.
# For research use only. Not for use in diagnostic procedures.

FROM tensorflow/serving:2.21.0-devel-gpu AS build
WORKDIR /tensorflow-serving
RUN bazel build --config=release --config=cuda \
        --repo_env=HERMETIC_CUDA_VERSION=12.8.1 \
        --repo_env=HERMETIC_CUDNN_VERSION=9.8.0 \
        --repo_env=HERMETIC_CUDA_COMPUTE_CAPABILITIES=sm_80,sm_89,sm_90,sm_100,compute_100 \
        tensorflow_serving/model_servers:tensorflow_model_server \
    && cp bazel-bin/tensorflow_serving/model_servers/tensorflow_model_server /usr/local/bin/

# The CUDA and cuDNN (9.8.0) that it was built with. TensorFlow takes no older cuDNN ("matching major version and equal or higher
# minor version"), and the published server is built for 9.3 (read of 2.20; 2.21's was not seen).
FROM nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04
COPY --from=build /usr/local/bin/tensorflow_model_server /usr/bin/tensorflow_model_server
ARG VERSION=unknown
LABEL org.opencontainers.image.version="${VERSION}"
USER 10001:10001
EXPOSE 8500 8501
ENTRYPOINT ["tensorflow_model_server"]
CMD ["--port=8500", "--rest_api_port=8501", "--enable_profiler=false"]
